"""Calls that do not fit into memory: their tensors wait in a file, and the result is the same."""

import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from pruning_proto.limits import MIB
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service import local
from pruning_service.local import LocalSettings
from pruning_service.local_settings import SettingsError
from pruning_service.resources.spool import SpoolDirectory
from pruning_service.status import Refusal
from pruning_service.streams.source_store import SourceStore
from tests.servers import ServerProcess, running_server
from tests.service import raw
from tests.service.raw import Outcome, file, l1
from tests.service.test_server import samples

MEMORY_BYTES = 96 * MIB
SMALL = {"memory_bytes": str(MEMORY_BYTES), "backlog_bytes": str(8 * MIB)}
TENSOR_BYTES = 8 * MIB
TENSORS = 16


def model() -> bytes:
    """Return 128 MiB of weights that differ in size, and a tensor that no rule selects."""
    random = np.random.default_rng(5)
    weights = {
        f"layers.{index}.weight": ("F32", [1024, 2048], (random.standard_normal(2 << 20) * (1 + index)).astype("<f4"))
        for index in range(TENSORS)
    }
    tensors = {name: (dtype, shape, values.tobytes()) for name, (dtype, shape, values) in weights.items()}
    return file({**tensors, "position_ids": ("I64", [4], bytes(32))})


CONTENT = model()
GLOBAL = l1(0.5, scope=pb.SCOPE_GLOBAL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("spool")


@pytest.fixture(scope="module")
def small(folder: Path) -> Iterator[ServerProcess]:
    with running_server(**SMALL, spool_dir=str(folder)) as server:
        yield server


def prune(server: ServerProcess, **fields: object) -> Outcome:
    return raw.call(server.address, [raw.options(CONTENT, **fields), *raw.data(CONTENT)], timeout=300)  # type: ignore[arg-type]


def without_times(outcome: Outcome) -> pb.Report:
    report = pb.Report()
    report.CopyFrom(outcome.report)
    for name in ("request_id", "stage_seconds"):
        report.ClearField(name)
    return report


@pytest.mark.parametrize(
    ("rules", "output"),
    [
        ([GLOBAL], pb.OUTPUT_FORM_PRUNED),
        ([GLOBAL], pb.OUTPUT_FORM_MASK),
        ([GLOBAL], pb.OUTPUT_FORM_REPORT),
        ([l1(0.25), l1(0.5, scope=pb.SCOPE_GLOBAL)], pb.OUTPUT_FORM_PRUNED),
    ],
    ids=["pruned", "masks", "report", "two rules"],
)
def test_result_is_that_of_a_server_with_enough_memory(
    small: ServerProcess, server: ServerProcess, folder: Path, rules: list[pb.Rule], output: "pb.OutputForm"
) -> None:
    spooled = prune(small, rules=rules, output=output, digests=True)
    held = prune(server, rules=rules, output=output, digests=True)
    assert spooled.failure.message == ""
    assert spooled.data == held.data
    assert without_times(spooled) == without_times(held)
    assert (held.plan.spool_bytes, spooled.plan.spool_bytes) == (0, TENSORS * TENSOR_BYTES + 32)
    assert spooled.plan.peak_bytes < MEMORY_BYTES < held.plan.peak_bytes
    assert list(folder.iterdir()) == []


def test_plan_tells_what_goes_to_disk(small: ServerProcess) -> None:
    header = CONTENT[: 8 + int.from_bytes(CONTENT[:8], "little")]
    request = raw.options(CONTENT, rules=[GLOBAL], output=pb.OUTPUT_FORM_PLAN)
    planned = raw.call(small.address, [request, pb.PruneRequest(data=header)])
    assert planned.plan.spool_bytes == TENSORS * TENSOR_BYTES + 32
    assert planned.plan.peak_bytes < MEMORY_BYTES


def test_metrics_tell_of_it(small: ServerProcess) -> None:
    searches = ("pruning_stage_seconds_count", (("stage", "search"),))
    before = samples(small)[searches]
    prune(small, rules=[GLOBAL])
    found = samples(small)
    assert found[searches] - before == 1
    assert found["pruning_spooled_bytes", ()] == 0


def test_what_fits_into_memory_is_not_spooled(small: ServerProcess) -> None:
    content = file({"a.weight": ("F32", [2, 2], raw.f32(1, 2, 3, 4))})
    assert raw.prune(small.address, content, rules=[GLOBAL]).plan.spool_bytes == 0


@pytest.mark.parametrize(
    "rule",
    [
        pb.Rule(score=pb.Score(lamp=pb.Lamp()), amount=pb.Amount(fraction=0.5), scope=pb.SCOPE_GLOBAL),
        l1(0.5, scope=pb.SCOPE_GLOBAL, granularity=pb.Granularity(channels=pb.Channels(dim=0))),
    ],
    ids=["LAMP", "channels"],
)
def test_rules_that_hold_their_tensors_are_refused_as_before(small: ServerProcess, rule: pb.Rule) -> None:
    refused = prune(small, rules=[rule])
    assert refused.failure.reason == Reason.MODEL_TOO_LARGE
    assert f"{MEMORY_BYTES:,}" in refused.failure.message


def test_limit_of_the_disk_is_the_servers(folder: Path) -> None:
    with running_server(**SMALL, spool_dir=str(folder), spool_bytes=str(MIB)) as server:
        refused = prune(server, rules=[GLOBAL])
    assert refused.failure.reason == Reason.MODEL_TOO_LARGE
    assert "PRUNING_SPOOL_BYTES" in refused.failure.message


def test_nothing_is_left_of_a_server_that_is_killed(folder: Path) -> None:
    with running_server(**SMALL, spool_dir=str(folder)) as server:

        def half() -> Iterator[pb.PruneRequest]:
            yield raw.options(CONTENT, rules=[GLOBAL])
            yield from raw.data(CONTENT[: len(CONTENT) // 2])
            held = Path(f"/proc/{server.process.pid}/fd")
            assert any("(deleted)" in str(each.readlink()) for each in held.iterdir())
            server.process.send_signal(signal.SIGKILL)

        raw.call(server.address, half())
    assert list(folder.iterdir()) == []


def test_calls_share_the_disk(tmp_path: Path) -> None:
    directory = SpoolDirectory(tmp_path, 10 * MIB)
    with directory.spool(6 * MIB), pytest.raises(Refusal, match="in use") as refused, directory.spool(6 * MIB):
        pass
    assert refused.value.reason is Reason.NO_ROOM
    assert directory.used_bytes == 0
    with directory.spool(10 * MIB):
        assert directory.used_bytes == 10 * MIB


def test_spool_gives_back_what_it_took(tmp_path: Path) -> None:
    first, second = np.arange(1000, dtype=np.uint8), np.arange(500, dtype=np.uint8)[::-1].copy()
    with SpoolDirectory(tmp_path, MIB).spool(1500) as spool:
        spool.append(first.data)
        spool.append(second.data)
        found = np.zeros(500, np.uint8)
        spool.read_into(found.data, 1000)
        assert np.array_equal(found, second)
        with pytest.raises(OSError, match="shorter"):
            spool.read_into(found.data, 1200)


def test_folder_that_cannot_be_written_to_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="PRUNING_SPOOL_DIR: no file can be made in"):
        SpoolDirectory(tmp_path / "missing", MIB).check()


@pytest.mark.parametrize("skipped", [[], [(3, 5)], [(0, 2), (4, 9), (20, 30)]], ids=["none", "one", "several"])
def test_source_is_read_again_without_what_is_skipped(skipped: list[tuple[int, int]]) -> None:
    content = bytes(range(40))
    store = SourceStore(lambda ranges: (memoryview(content)[begin:end] for begin, end in ranges), skipped)
    counted = bytes(byte for at, byte in enumerate(content) if not any(begin <= at < end for begin, end in skipped))
    for begin in range(len(counted)):
        for end in range(begin, len(counted) + 1):
            found = bytearray(end - begin)
            store.read_into(memoryview(found), begin)
            assert found == counted[begin:end]


def test_local_runs_read_again() -> None:
    results: list[bytes] = []
    plans: list[pb.Plan] = []

    def receive(message: pb.PruneResponse | memoryview) -> None:
        if isinstance(message, memoryview):
            results.append(bytes(message))
        elif message.HasField("plan"):
            plans.append(message.plan)

    def pieces() -> Iterator[bytes]:
        yield from (CONTENT[at : at + MIB] for at in range(0, len(CONTENT), MIB))

    options = raw.options(CONTENT, rules=[GLOBAL], output=pb.OUTPUT_FORM_MASK).options
    header_bytes = 8 + int.from_bytes(CONTENT[:8], "little")
    asked: list[tuple[int, int]] = []

    def again(ranges: Sequence[tuple[int, int]]) -> Iterator[memoryview]:
        asked.extend(ranges)
        yield from (memoryview(CONTENT)[header_bytes + begin : header_bytes + end] for begin, end in ranges)

    for memory_bytes in (MEMORY_BYTES, 16 * MEMORY_BYTES):
        local.prune(options, pieces(), receive, LocalSettings(threads=1, memory_bytes=memory_bytes), again)
    assert [plan.spool_bytes for plan in plans] == [0, 0]
    assert plans[0].peak_bytes < MEMORY_BYTES < plans[1].peak_bytes
    assert sum(end - begin for begin, end in asked) <= 1.1 * TENSORS * TENSOR_BYTES  # to sample and to count
    whole = b"".join(results)
    assert whole[: len(whole) // 2] == whole[len(whole) // 2 :]
