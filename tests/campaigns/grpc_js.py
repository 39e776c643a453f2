"""grpc-js, a gRPC of its own in JavaScript: its packages from npm under `.cache`, and calls made by `js/calls.js`."""

import base64
import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from google.rpc import error_details_pb2, status_pb2

from pruning_proto.limits import CHUNK_BYTES
from pruning_proto.v1 import pruning_pb2 as pb
from scripts import node_packages
from scripts.environments import ROOT
from scripts.imported_protos import copy_into

HERE: Final = Path(__file__).with_name("js")
PROTO: Final = ROOT / "proto" / "pruning_proto" / "v1" / "pruning.proto"
IMPORTED: Final = ROOT / ".cache" / "protos"
"""What the contract imports of Google's."""

MISSING: Final = node_packages.MISSING
MOST_SECONDS: Final = 600


@dataclass(frozen=True, slots=True)
class Case:
    """One call: its options and the file that is sent after them, sound or not."""

    options: pb.PruneOptions
    file: Path


@dataclass(frozen=True, slots=True)
class Reply:
    """What the client received for a case: the reason in-band and in the status's details, code and text."""

    case: int
    in_band: str
    in_status: str
    code: int
    message: str


def is_installable() -> bool:
    """Whether node and npm are here."""
    return node_packages.is_installable()


def calls(address: str, cases: Sequence[Case], *, times: int, at_once: int) -> list[Reply]:
    """Make `times` calls, the cases in turn."""
    copy_into(IMPORTED)
    described = [
        {
            "proto": str(PROTO),
            "imported": str(IMPORTED),
            "options": MessageToDict(case.options),
            "file": str(case.file),
            "chunkBytes": CHUNK_BYTES,
        }
        for case in cases
    ]
    done = subprocess.run(
        ["node", HERE / "calls.js", address, str(times), str(at_once)],
        input=json.dumps(described),
        env=os.environ | {"NODE_PATH": str(node_packages.node_modules(HERE))},
        capture_output=True,
        text=True,
        check=False,
        timeout=MOST_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return [_reply(json.loads(line)) for line in done.stdout.splitlines()]


def _reply(line: dict[str, Any]) -> Reply:
    info = error_details_pb2.ErrorInfo()
    status = status_pb2.Status.FromString(base64.b64decode(line["details"]))
    any(detail.Unpack(info) for detail in status.details)
    return Reply(line["index"], line["inBand"], info.reason, line["code"], line["message"])
