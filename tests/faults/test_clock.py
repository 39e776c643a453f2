"""The machine's clock is set while calls and jobs are under way: they end as they would have, and nothing is held."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from pruning_client import Client
from pruning_client.results.report import Report
from pruning_proto.v1 import pruning_pb2 as pb
from tests.campaigns.observed import gauge
from tests.faults.limits import check_at_rest
from tests.faults.shim import needs_compiler, server_with_shim
from tests.service.raw import call, data, f32, file, options, prune, wait_until
from tests.system import jobs

pytestmark = needs_compiler

YEARS = 10 * 365 * 24 * 3600
JUMPS = (YEARS, -YEARS, 0)
CONTENT = file({f"{number}.weight": ("F32", [64, 64], f32(*range(4096))) for number in range(8)})


@pytest.mark.parametrize("jump", [YEARS, -YEARS], ids=["ahead", "back"])
def test_call_goes_on(tmp_path: Path, jump: int) -> None:
    with server_with_shim(tmp_path) as (server, shim):
        expected = prune(server.address, CONTENT).data

        def requests() -> Iterator[pb.PruneRequest]:
            first, *others = data(CONTENT, 4096)
            yield options(CONTENT)
            yield first
            assert wait_until(lambda: gauge(server, "pruning_reserved_bytes") > 0)
            shim.set_clock(jump)
            yield from others

        outcome = call(server.address, requests())
        assert outcome.code is grpc.StatusCode.OK, outcome.failure
        assert without_history(outcome.data) == without_history(expected)
        check_at_rest(server)
        assert prune(server.address, CONTENT).code is grpc.StatusCode.OK


def without_history(content: bytes) -> bytes:
    """Return the bytes of the tensors."""
    return content[8 + int.from_bytes(content[:8], "little") :]


def test_job_ends_once(tmp_path: Path) -> None:
    """Leases are counted by clocks that nobody sets: a job does not begin again because the time was set."""
    jobs.model(tmp_path / "in")
    (tmp_path / "shim").mkdir()
    with (
        server_with_shim(tmp_path / "shim", **jobs.settings(tmp_path, lease_seconds="60")) as (server, shim),
        Client(server.address) as client,
    ):
        undisturbed = jobs.begun(client, tmp_path, "undisturbed")
        assert isinstance(jobs.ended(undisturbed), Report)
        job = jobs.begun(client, tmp_path, "job")
        for jump in JUMPS:
            assert jobs.wait_for(lambda: bool(jobs.workers_of(server)) or job.is_done)
            shim.set_clock(jump)
        assert isinstance(jobs.ended(job), Report)
        assert job.status.attempt == 1
        assert jobs.content(tmp_path / "job") == jobs.content(tmp_path / "undisturbed")
        assert wait_until(lambda: gauge(server, "pruning_jobs_running") == 0)
        check_at_rest(server)


def test_clock_is_set(tmp_path: Path) -> None:
    """The server sees what the tests above set: its log has the time."""
    with server_with_shim(tmp_path) as (server, shim):
        prune(server.address, CONTENT)
        before = int(server.log[-1][:4])
        shim.set_clock(YEARS)
        prune(server.address, CONTENT)
        assert wait_until(lambda: int(server.log[-1][:4]) - before >= 9)
