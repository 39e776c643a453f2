"""Generate `pruning_pb2.py` and `pruning_pb2.pyi` from the .proto: `python -m scripts.stubs FOLDER`.

grpcio-tools 1.76.0 writes code for protobuf 6.31, which runs on every protobuf that the client allows; a newer one
would demand more. It cannot share an environment with the service's grpcio packages and has its own.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from scripts.environments import ROOT, python_with
from scripts.imported_protos import copy_into

CONTRACT: Final = "pruning_proto/v1/pruning.proto"

_STUBS: Final = ("pruning_proto/v1/pruning_pb2.py", "pruning_proto/v1/pruning_pb2.pyi")
_WITH_GRPC: Final = "from google.longrunning import operations_pb2 as"
_WITHOUT_GRPC: Final = "from google.longrunning import operations_proto_pb2 as"
"""The module of the messages alone: `operations_pb2` imports grpc, which a local run does without."""


def generate(folder: Path) -> None:
    """Write the stubs under `folder`, in the folders of their package."""
    python = python_with("stubs", ["grpcio-tools==1.76.0", "protobuf==6.31.1", "setuptools==80.9.0"])
    with tempfile.TemporaryDirectory() as imported:
        copy_into(Path(imported))
        subprocess.run(
            [
                *(python, "-m", "grpc_tools.protoc", "-Iproto", f"-I{imported}"),
                *(f"--python_out={folder}", f"--pyi_out={folder}", CONTRACT),
            ],
            check=True,
            cwd=ROOT,
        )
    for stub in _STUBS:
        text = (folder / stub).read_text()
        (folder / stub).write_text(text.replace(_WITH_GRPC, _WITHOUT_GRPC))


if __name__ == "__main__":
    generate(Path(sys.argv[1]).resolve())
