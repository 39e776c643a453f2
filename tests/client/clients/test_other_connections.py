"""A client over a connection that is not gRPC's: verbs, sources and sinks are the same, and gRPC is not imported."""

import subprocess
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest

from pruning_client import Client, Progress, rules
from pruning_client.calls.exchange import Exchange, Watcher
from pruning_client.calls.outcome import Outcome
from pruning_client.errors import MismatchError
from pruning_client.transport.retry import Attempts
from pruning_proto.framing import Data
from pruning_proto.v1 import pruning_pb2 as pb
from tests.client.scripted import failure, plan, report
from tests.client.tiny_files import weight, written

HALF = rules.l1_unstructured(0.5)


class Echo:
    """Sends the file back as it comes, in this process; or refuses it, after the header."""

    def __init__(self, refusal: pb.PruneResponse | None) -> None:
        self._refusal = refusal

    def prune(
        self, exchange: Exchange, write: Callable[[Data], object], watcher: Watcher | None, attempts: Attempts
    ) -> Outcome:
        assert attempts.number == 1
        if self._refusal is not None:
            exchange.receive(self._refusal)
            return exchange.finish()
        exchange.receive(plan(exchange.options.total_bytes))
        for message in chain(exchange.opening(), exchange.body()):
            if not isinstance(message, pb.PruneRequest):
                exchange.sent(len(message))
                write(exchange.receive(memoryview(message)) or b"")
                if watcher is not None:
                    watcher(exchange.progress)
        exchange.receive(report())
        return exchange.finish()

    def capabilities(self, attempts: Attempts) -> pb.GetCapabilitiesResponse:
        assert attempts.number == 1
        return pb.GetCapabilitiesResponse(version="here")

    def close(self) -> None:
        pass


class EchoClient(Client):
    refusal: pb.PruneResponse | None = None

    def _connect(self) -> None:
        self._connection = Echo(self.refusal)


class RefusingClient(EchoClient):
    refusal = failure("SELECTS_NOTHING", "selects nothing")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return written(tmp_path / "small", weight(1, 2, 3, 4))


def test_file_is_pruned_over_it(small: Path, tmp_path: Path) -> None:
    reported: list[Progress] = []
    with EchoClient("here") as client:
        client.prune_file(small, tmp_path / "out", HALF, progress=reported.append)
    assert (tmp_path / "out").read_bytes() == small.read_bytes()
    assert reported[-1].received_bytes == reported[-1].sent_bytes == small.stat().st_size


def test_failure_is_raised_and_leaves_no_file(small: Path, tmp_path: Path) -> None:
    with RefusingClient("here") as client, pytest.raises(MismatchError, match="selects nothing"):
        client.prune_file(small, tmp_path / "out", HALF)
    assert list(tmp_path.iterdir()) == [small]


def test_capabilities_are_asked_over_it() -> None:
    with EchoClient("here") as client:
        assert client.capabilities().version == "here"


def test_grpc_is_not_imported(small: Path, tmp_path: Path) -> None:
    program = f"""
import sys
sys.modules["grpc"] = None
from pruning_client import Client, rules
from pruning_client.clients.sync import Connection
class Refused(Exception): pass
class Nowhere(Connection):
    def prune(self, exchange, write, watcher, attempts):
        sent = [*exchange.opening(), *exchange.body()]
        raise Refused(len(sent))
class Here(Client):
    def _connect(self):
        self._connection = Nowhere()
try:
    Here("here").prune_file({str(small)!r}, {str(tmp_path / "out")!r}, rules.l1_unstructured(0.5))
except Refused as refused:
    print(refused, "asyncio" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("2 False\n", "")
