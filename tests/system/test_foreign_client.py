"""A client that shares no code with us: `buf curl`, in Go, which knows the .proto or asks the server by reflection."""

import base64
import json
import math
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo

from scripts.imported_protos import copy_into
from tests.servers import ServerProcess, running_server

BUF = Path(sys.executable).parent / "buf"
CONTRACT = Path(__file__).resolve().parents[2] / "proto" / "pruning_proto" / "v1" / "pruning.proto"

Json = dict[str, Any]

WEIGHT = np.array([[-3.0, 1.0, 0.5], [-2.0, 4.0, -0.25]], np.float32)
BIAS = np.array([0.125, -1.0], np.float32)
CHECKPOINT = safetensors.numpy.save({"fc.weight": WEIGHT, "fc.bias": BIAS}, {"format": "pt"})
L1_HALF: Json = {"rules": [{"score": {"magnitude": {}}, "amount": {"fraction": 0.5}}]}


@pytest.fixture(params=["the .proto alone", "reflection v1 alone", "reflection v1alpha alone"])
def schema(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """What buf knows the service by."""
    if request.param.startswith("reflection"):
        return ["--reflect", "--reflect-protocol", f"grpc-{request.param.split()[1]}"]
    return schema_in(tmp_path)


def schema_in(folder: Path) -> list[str]:
    """Return the options that name the contract by its file, put into a folder with what it imports of Google's."""
    shutil.copy(CONTRACT, folder)
    copy_into(folder)
    return ["--schema", str(folder)]


def call(
    server: ServerProcess, method: str, schema: Sequence[str], messages: Sequence[Json], *, scheme: str = "http"
) -> subprocess.CompletedProcess[str]:
    """Send messages as JSON, one after the other, and half-close."""
    url = f"{scheme}://{server.address}/pruning.v1.PruningService/{method}"
    version = ["--http2-prior-knowledge"] if scheme == "http" else []  # over TLS it is agreed on
    return subprocess.run(
        [BUF, "curl", *schema, "--protocol", "grpc", *version, "--data", "@-", url],
        input="\n".join(json.dumps(message) for message in messages),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def request(recipe: Json, output: str = "OUTPUT_FORM_PRUNED") -> list[Json]:
    """Return the messages of one call: the options, and the file in pieces that are cut anywhere."""
    options = {"recipe": recipe, "output": output, "totalBytes": str(len(CHECKPOINT))}
    pieces = [CHECKPOINT[begin : begin + 37] for begin in range(0, len(CHECKPOINT), 37)]
    return [{"options": options}, *({"data": base64.b64encode(piece).decode()} for piece in pieces)]


def answers(text: str) -> Iterator[Json]:
    """Read JSON objects that follow each other."""
    while text := text.lstrip():
        message, end = json.JSONDecoder().raw_decode(text)
        yield message
        text = text[end:]


def result_of(done: subprocess.CompletedProcess[str]) -> bytes:
    """Return the file that the answers carry."""
    assert done.returncode == 0, done.stderr
    return b"".join(base64.b64decode(answer["data"]) for answer in answers(done.stdout) if "data" in answer)


def details_of(done: subprocess.CompletedProcess[str]) -> dict[str, bytes]:
    """Return the details of the status by their type, as buf prints them: in base64 without its padding."""
    details = json.loads(done.stderr)["details"]
    return {detail["type"]: base64.b64decode(detail["value"] + "==") for detail in details}


def test_file_comes_back_that_safetensors_reads(server: ServerProcess, schema: list[str]) -> None:
    pruned = safetensors.numpy.load(result_of(call(server, "Prune", schema, request(L1_HALF))))
    assert pruned["fc.weight"].tolist() == [[-3.0, 0.0, 0.0], [-2.0, 4.0, 0.0]]
    assert pruned["fc.bias"].tolist() == BIAS.tolist()


def test_mask_comes_back_as_bits(server: ServerProcess, schema: list[str]) -> None:
    masks = safetensors.numpy.load(result_of(call(server, "Prune", schema, request(L1_HALF, "OUTPUT_FORM_MASK"))))
    assert {name: mask.tolist() for name, mask in masks.items()} == {"fc.weight:mask_bits": [0b011001]}


def test_plan_comes_first_and_the_report_last(server: ServerProcess, schema: list[str]) -> None:
    first, *_, last = answers(call(server, "Prune", schema, request(L1_HALF)).stdout)
    assert [one["name"] for one in first["plan"]["tensors"] if one.get("rules") == [0]] == ["fc.weight"]
    assert last["report"]["totals"] == {"tensors": "1", "entries": "6", "pruned": "3"}


def test_capabilities_are_told(server: ServerProcess, schema: list[str]) -> None:
    (answer,) = answers(call(server, "GetCapabilities", schema, [{}]).stdout)
    assert "l1_unstructured" in {method["name"] for method in answer["methods"]}
    assert "F32" in answer["prunableDtypes"]


def test_job_is_an_operation_with_its_metadata(schema: list[str], tmp_path: Path) -> None:
    job = {
        "name": "foreign",
        "source": f"file://{tmp_path}/in",
        "target": f"file://{tmp_path}/out",
        "options": {"recipe": L1_HALF},
    }
    with running_server(stores=f"file://{tmp_path}", max_jobs="0") as server:
        (operation,) = answers(call(server, "PruneCheckpoint", schema, [job]).stdout)
        refused = call(server, "PruneCheckpoint", schema, [job | {"target": "file:///elsewhere"}])

    assert operation["name"].endswith("/foreign")
    assert operation["metadata"]["@type"] == "type.googleapis.com/pruning.v1.PruneCheckpointMetadata"
    assert operation["metadata"]["state"] == "JOB_STATE_PENDING"
    assert ErrorInfo.FromString(details_of(refused)["google.rpc.ErrorInfo"]).reason == "STORE_NOT_ALLOWED"


@pytest.mark.parametrize(
    ("recipe", "reason", "field"),
    [
        ({"rules": []}, "INVALID_RECIPE", "recipe.rules"),
        (
            {"rules": [{"score": {"magnitude": {}}, "amount": {"fraction": 1.5}}]},
            "AMOUNT_OUT_OF_RANGE",
            "recipe.rules[0].amount.fraction",
        ),
        (
            {"rules": [{"score": {"magnitude": {}}, "amount": {"fraction": 0.5}, "scope": 77}]},
            "UNSUPPORTED_FIELD",
            "recipe.rules[0].scope",
        ),
        (
            {"rules": [{"select": {"include": ["nothing"]}, "score": {"magnitude": {}}, "amount": {"fraction": 0.5}}]},
            "SELECTS_NOTHING",
            "recipe.rules[0].select.include[0]",
        ),
    ],
    ids=["no rules", "an amount out of range", "an unknown enum value", "a selector that matches nothing"],
)
def test_refusal_is_told_in_band_and_as_the_status(
    server: ServerProcess, schema: list[str], recipe: Json, reason: str, field: str
) -> None:
    done = call(server, "Prune", schema, request(recipe))
    *_, last = answers(done.stdout)
    assert last["failure"]["reason"] == reason
    assert field in {violation["field"] for violation in last["failure"]["violations"]}
    details = details_of(done)
    assert ErrorInfo.FromString(details["google.rpc.ErrorInfo"]).reason == reason
    assert field in {one.field for one in BadRequest.FromString(details["google.rpc.BadRequest"]).field_violations}
    assert done.returncode == 3 << 3  # INVALID_ARGUMENT, as buf reports it


def test_unsound_file_is_refused_by_the_tensor(server: ServerProcess, schema: list[str]) -> None:
    header = b'{"w":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}'
    broken = struct.pack("<Q", len(header)) + header + bytes(8)
    options = {"recipe": L1_HALF, "totalBytes": str(len(broken))}
    done = call(server, "Prune", schema, [{"options": options}, {"data": base64.b64encode(broken).decode()}])
    *_, last = answers(done.stdout)
    assert (last["failure"]["reason"], last["failure"]["metadata"]["tensor"]) == ("SIZE_MISMATCH", "w")


def test_data_without_options_is_refused(server: ServerProcess, schema: list[str]) -> None:
    *_, last = answers(call(server, "Prune", schema, request(L1_HALF)[1:]).stdout)
    assert last["failure"]["reason"] == "OPTIONS_FIRST"


def test_counts_are_exact_for_amounts_that_round(server: ServerProcess, schema: list[str]) -> None:
    recipe = {"rules": [{"score": {"magnitude": {}}, "amount": {"sparsity": 0.7}}]}
    pruned = safetensors.numpy.load(result_of(call(server, "Prune", schema, request(recipe))))
    assert np.count_nonzero(pruned["fc.weight"] == 0) == round(0.7 * math.prod(WEIGHT.shape))
