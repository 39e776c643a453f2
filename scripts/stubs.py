"""Generate `pruning_pb2.py` and `pruning_pb2.pyi` from the .proto: `python -m scripts.stubs FOLDER`.

grpcio-tools 1.76.0 writes code for protobuf 6.31, which runs on every protobuf that the client allows; a newer one
would demand more. It cannot share an environment with the service's grpcio packages and has its own.
"""

import subprocess
import sys
from pathlib import Path
from typing import Final

from scripts.environments import ROOT, python_with

CONTRACT: Final = "pruning_proto/v1/pruning.proto"


def generate(folder: Path) -> None:
    """Write the stubs under `folder`, in the folders of their package."""
    python = python_with("stubs", ["grpcio-tools==1.76.0", "protobuf==6.31.1", "setuptools==80.9.0"])
    subprocess.run(
        [python, "-m", "grpc_tools.protoc", "-Iproto", f"--python_out={folder}", f"--pyi_out={folder}", CONTRACT],
        check=True,
        cwd=ROOT,
    )


if __name__ == "__main__":
    generate(Path(sys.argv[1]).resolve())
