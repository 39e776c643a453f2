"""Results whose header is known only at the end: where they do not fit into memory, they wait in a file."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pruning_proto.limits import MIB
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service import local
from pruning_service.local import LocalSettings
from tests.client.cli.test_local_run import prune as run_command
from tests.faults.limits import check_at_rest
from tests.servers import ServerProcess, running_server
from tests.service import raw
from tests.service.calls.test_spooled_calls import without_times
from tests.service.raw import Outcome, file, l1

MEMORY_BYTES = 92 * MIB
TENSORS = 24
TENSOR_BYTES = 4 * MIB
SMALL = {"memory_bytes": str(MEMORY_BYTES), "backlog_bytes": str(4 * MIB), "threads": "1"}


def model() -> bytes:
    """Return 96 MiB of weights that differ in size, after a tensor that comes last where all others are aligned."""
    random = np.random.default_rng(6)
    tensors = {"odd": ("U8", [3], b"abc"), "empty": ("F32", [0], b"")}
    for index in range(TENSORS):
        values = random.standard_normal(1 << 20, np.float32) * (1 + index)
        tensors[f"layers.{index}.weight"] = ("F32", [512, 2048], values.tobytes())
    return file(tensors)


def units(layers: int, scope: "pb.Scope") -> pb.Rule:
    """Return a rule about channels of some layers: those of a global one are held, which all others are not."""
    groups = [pb.Group(ties=[pb.Tie(tensor=f"layers.{index}.weight")]) for index in range(layers)]
    return l1(0.375, granularity=pb.Granularity(units=pb.Units(groups=groups)), scope=scope)


CONTENT = model()
LOCAL, GLOBAL = [l1(0.5)], [l1(0.5, scope=pb.SCOPE_GLOBAL)]
PACKED = {"output": pb.OUTPUT_FORM_PACKED}
ZSTD = PACKED | {"compression": pb.COMPRESSION_ZSTD}
REMOVED = {"output": pb.OUTPUT_FORM_REMOVED}
CALLS: dict[str, dict[str, Any]] = {
    "packed, local": PACKED | {"rules": LOCAL, "canonical_zero": True},
    "packed, global": PACKED | {"rules": GLOBAL},
    "zstd, local": ZSTD | {"rules": LOCAL},
    "zstd, global": ZSTD | {"rules": GLOBAL},
    "removed, local": REMOVED | {"rules": [units(TENSORS, pb.SCOPE_LOCAL)]},
    "removed, global": REMOVED | {"rules": [units(4, pb.SCOPE_GLOBAL)]},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("spool")


@pytest.fixture(scope="module")
def small(folder: Path) -> Iterator[ServerProcess]:
    with running_server(**SMALL, spool_dir=str(folder)) as server:
        yield server


def prune(server: ServerProcess, **fields: object) -> Outcome:
    return raw.call(server.address, [raw.options(CONTENT, **fields), *raw.data(CONTENT)], timeout=300)  # type: ignore[arg-type]


def prune_here(settings: LocalSettings, **fields: object) -> Outcome:
    """Prune in this process, from pieces that cannot be read again."""
    outcome = Outcome()
    pieces = (CONTENT[at : at + MIB] for at in range(0, len(CONTENT), MIB))
    options = raw.options(CONTENT, **fields).options  # type: ignore[arg-type]
    local.prune(options, pieces, partial(_received, outcome), settings)
    return outcome


def _received(outcome: Outcome, message: pb.PruneResponse | memoryview) -> None:
    outcome.responses.append(pb.PruneResponse(data=bytes(message)) if isinstance(message, memoryview) else message)


@pytest.mark.parametrize("name", CALLS)
def test_result_is_the_one_that_is_held(
    small: ServerProcess, server: ServerProcess, folder: Path, tmp_path: Path, name: str
) -> None:
    held = prune(server, **CALLS[name], digests=True)
    spooled = prune(small, **CALLS[name], digests=True)
    here = prune_here(
        LocalSettings(threads=1, memory_bytes=MEMORY_BYTES, spool_dir=tmp_path), **CALLS[name], digests=True
    )
    for outcome in (spooled, here):
        assert outcome.failure.message == ""
        assert outcome.data == held.data
        assert outcome.plan.peak_bytes < MEMORY_BYTES < held.plan.peak_bytes
        assert outcome.plan.spool_bytes >= TENSORS * TENSOR_BYTES
    assert without_times(spooled) == without_times(held)
    assert [*folder.iterdir(), *tmp_path.iterdir()] == []


def test_without_a_folder_they_are_refused() -> None:
    with running_server(**SMALL) as server:
        refused = prune(server, **CALLS["packed, local"])
    assert refused.failure.reason == Reason.MODEL_TOO_LARGE
    assert "PRUNING_SPOOL_DIR" in refused.failure.message


def test_global_rule_about_channels_holds_its_tensors(small: ServerProcess) -> None:
    refused = prune(small, **REMOVED, rules=[units(TENSORS, pb.SCOPE_GLOBAL)])
    assert refused.failure.reason == Reason.MODEL_TOO_LARGE
    check_at_rest(small)


def test_limit_of_the_disk_counts_results(folder: Path) -> None:
    with running_server(**SMALL, spool_dir=str(folder), spool_bytes=str(TENSORS * TENSOR_BYTES)) as server:
        refused = prune(server, **CALLS["packed, local"])
        check_at_rest(server)
    assert refused.failure.reason == Reason.MODEL_TOO_LARGE
    assert "PRUNING_SPOOL_BYTES" in refused.failure.message


def test_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    settings = LocalSettings(threads=1, memory_bytes=MEMORY_BYTES, spool_dir=tmp_path / "missing")
    refused = prune_here(settings, **CALLS["packed, local"])
    assert refused.failure.reason == Reason.MODEL_TOO_LARGE
    assert "PRUNING_SPOOL_DIR" in refused.failure.message


@pytest.mark.parametrize(("places", "scope"), [("", "--global"), ("file://", "")], ids=["files", "stores"])
def test_command_writes_what_does_not_fit(server: ServerProcess, tmp_path: Path, places: str, scope: str) -> None:
    source, target = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    source.write_bytes(CONTENT)
    done = run_command(
        *("run", f"{places}{source}", "-o", f"{places}{target}", "--method", "l1_unstructured", "--amount", "0.5"),
        *("--output", "packed", "--seed", "7", *scope.split()),
        PRUNING_MEMORY_BYTES=str(MEMORY_BYTES),
    )
    assert done.returncode == 0, done.stderr
    held = prune(server, **PACKED, rules=GLOBAL if scope else LOCAL)
    assert target.read_bytes() == held.data
