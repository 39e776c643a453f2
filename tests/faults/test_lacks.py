"""What the system does not have at the moment: a call ends with NO_ROOM and what is lacking, and the next one finishes.

The server is a real one, and what is lacking is: its limits are lowered from outside while it runs (`limits`).
"""

import resource
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from pruning_proto.limits import MIB
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from tests.campaigns.observed import gauge
from tests.faults.limits import check_at_rest, limit, mapped_bytes, on_linux
from tests.faults.shim import needs_compiler, server_with_shim
from tests.servers import ServerProcess, running_server
from tests.service.raw import Outcome, call, call_on, data, file, l1, options, prune, wait_until, with_header

pytestmark = on_linux

TENSOR_BYTES = 4 * MIB
SMALL_MEMORY = {"memory_bytes": str(72 * MIB), "backlog_bytes": str(4 * MIB)}

SMALL = file({"a.weight": ("F32", [16, 16], bytes(1024))})
LARGE = file({"a.weight": ("F32", [4096, 4096], bytes(64 * MIB))})
HUGE = with_header(b'{"a.weight":{"dtype":"F32","shape":[8192,16384],"data_offsets":[0,536870912]}}', bytes(MIB))
"""The beginning of a file; for its tensor there is no memory, whatever threads of the server end meanwhile."""
HUGE_BYTES = len(HUGE) + 511 * MIB
SPOOLED = file({f"{number}.weight": ("F32", [1024, 1024], bytes(TENSOR_BYTES)) for number in range(20)})
DENSE = file({f"{number}.weight": ("F32", [1024, 1024], b"\0\0\x80?" * (1 << 20)) for number in range(20)})
ONE_PIECE = file({"a.weight": ("F32", [512, 1024], bytes(2 * MIB))})
MEDIUM = file({"a.weight": ("F32", [4096, 1024], bytes(16 * MIB))})
LONG = l1(0.5, select=pb.Selector(include=["a.weight"] * 20_000))
GLOBAL = [l1(0.5, scope=pb.SCOPE_GLOBAL)]


@pytest.fixture(scope="module")
def spooling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("spool")
    with running_server(**SMALL_MEMORY, spool_dir=str(folder)) as server:
        yield server
    assert list(folder.iterdir()) == []


def check_refused(outcome: Outcome, lacking: str) -> None:
    """Check that a call was refused for what is lacking, in the stream and by its status, and may be tried again."""
    assert outcome.failure.reason == Reason.NO_ROOM, outcome
    assert lacking in outcome.failure.message
    assert outcome.failure.retry_after.seconds > 0
    assert outcome.code is grpc.StatusCode.RESOURCE_EXHAUSTED


def check_serves(server: ServerProcess, content: bytes, rules: Sequence[pb.Rule] | None = None) -> None:
    """Check that a server prunes, and holds nothing afterwards."""
    check_at_rest(server)
    outcome = prune(server.address, content, rules=rules)
    assert outcome.code is grpc.StatusCode.OK, outcome.failure
    assert outcome.kinds[-1] == "report"
    check_at_rest(server)


def test_no_memory_for_a_tensor() -> None:
    with running_server() as server:
        assert prune(server.address, SMALL).code is grpc.StatusCode.OK
        with limit(server, resource.RLIMIT_AS, mapped_bytes(server) + 64 * MIB):
            check_refused(call(server.address, [options(HUGE, total_bytes=HUGE_BYTES), *data(HUGE)]), "memory")
        check_serves(server, LARGE)


@needs_compiler
@pytest.mark.parametrize(
    ("content", "rules"),
    [(SMALL, [LONG]), (LARGE, None)],
    ids=["to read its options, nor to free them", "to prune"],
)
def test_no_thread_for_a_call(tmp_path: Path, content: bytes, rules: Sequence[pb.Rule] | None) -> None:
    """The first call of its kind needs a new thread."""
    with server_with_shim(tmp_path, threads="2") as (server, shim):
        assert prune(server.address, SMALL).code is grpc.StatusCode.OK
        with shim.no_threads():
            check_refused(prune(server.address, content, rules=rules), "thread")
        check_serves(server, content, rules)


@needs_compiler
def test_no_thread_to_help_a_call(tmp_path: Path) -> None:
    """What threads would do side by side, the one that there is does alone."""
    with server_with_shim(tmp_path, threads="4") as (server, shim):
        expected = prune(server.address, MEDIUM).data
    with server_with_shim(tmp_path, threads="4") as (server, shim):
        assert prune(server.address, ONE_PIECE).code is grpc.StatusCode.OK
        with shim.no_threads():
            outcome = prune(server.address, MEDIUM)
        assert outcome.code is grpc.StatusCode.OK, outcome.failure
        assert outcome.data == expected
        check_at_rest(server)


def test_no_space_on_the_disk_at_the_beginning(spooling: ServerProcess) -> None:
    with limit(spooling, resource.RLIMIT_FSIZE, TENSOR_BYTES):
        check_refused(prune(spooling.address, SPOOLED, rules=GLOBAL), "PRUNING_SPOOL_DIR has no room")
    check_serves(spooling, SPOOLED, GLOBAL)


@pytest.mark.parametrize("most_bytes", [TENSOR_BYTES, 20 * TENSOR_BYTES], ids=["tensors", "results"])
def test_no_space_on_the_disk_for_a_late_header(spooling: ServerProcess, most_bytes: int) -> None:
    packed = {"output": pb.OUTPUT_FORM_PACKED, "rules": GLOBAL}
    with limit(spooling, resource.RLIMIT_FSIZE, most_bytes):
        check_refused(prune(spooling.address, SPOOLED, **packed), "PRUNING_SPOOL_DIR has no room")
    check_at_rest(spooling)
    assert prune(spooling.address, SPOOLED, **packed).code is grpc.StatusCode.OK
    check_at_rest(spooling)


@pytest.mark.parametrize(
    ("content", "fields"),
    [(SPOOLED, {"rules": GLOBAL}), (DENSE, {"output": pb.OUTPUT_FORM_PACKED})],
    ids=["tensors", "results"],
)
def test_no_space_on_the_disk_in_the_middle(spooling: ServerProcess, content: bytes, fields: dict[str, Any]) -> None:
    """As on file systems that write elsewhere what they have reserved."""
    with ExitStack() as stack:

        def requests() -> Iterator[pb.PruneRequest]:
            yield options(content, **fields)
            first, *others = data(content)
            yield first
            assert wait_until(lambda: gauge(spooling, "pruning_spooled_bytes") > 0)
            stack.enter_context(limit(spooling, resource.RLIMIT_FSIZE, 2 * TENSOR_BYTES))
            yield from others

        check_refused(call(spooling.address, requests()), "space on its disk")
    check_serves(spooling, SPOOLED, GLOBAL)


def test_no_file_descriptor(spooling: ServerProcess) -> None:
    with grpc.insecure_channel(spooling.address) as channel:
        assert call_on(channel, [options(SMALL), *data(SMALL)]).code is grpc.StatusCode.OK
        with limit(spooling, resource.RLIMIT_NOFILE, 3):
            needs_none = call_on(channel, [options(SMALL), *data(SMALL)])
            needs_one = call_on(channel, [options(SPOOLED, rules=GLOBAL), *data(SPOOLED)])
    assert needs_none.code is grpc.StatusCode.OK
    check_refused(needs_one, "file descriptor")
    check_serves(spooling, SPOOLED, GLOBAL)
