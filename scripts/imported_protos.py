"""The .proto files that the contract imports, for tools that read it: `python -m scripts.imported_protos FOLDER`.

They are those of googleapis-common-protos, which the client needs at run time. One of them has another name on disk
there than in `import` statements, in its own descriptor and in every other language's package.
"""

import shutil
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

PACKAGE: Final = "googleapis-common-protos"
FILES: Final = {
    "google/api/annotations.proto": "google/api/annotations.proto",
    "google/api/client.proto": "google/api/client.proto",
    "google/api/field_behavior.proto": "google/api/field_behavior.proto",
    "google/api/http.proto": "google/api/http.proto",
    "google/api/launch_stage.proto": "google/api/launch_stage.proto",
    "google/longrunning/operations.proto": "google/longrunning/operations_proto.proto",
    "google/rpc/status.proto": "google/rpc/status.proto",
}
"""Each file by the name that is imported -> its name in the package. Those of protobuf itself every tool has."""


def copy_into(folder: Path) -> None:
    """Write the files into a folder, by the names that are imported. Raises: OSError."""
    package = distribution(PACKAGE)
    for name, installed in FILES.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(str(package.locate_file(installed))), target)


if __name__ == "__main__":
    copy_into(Path(sys.argv[1]))
