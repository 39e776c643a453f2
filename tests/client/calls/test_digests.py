"""Digests of what was sent and of what came, held against what the server tells of the same bytes."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from pruning_client import Client, rules
from pruning_client.calls.digests import Digests
from pruning_client.errors import ProtocolError
from pruning_client.results.report import Report, report_of
from pruning_proto.v1 import pruning_pb2 as pb
from tests.client.scripted import data, plan, report, scripted_server
from tests.client.tiny_files import weight, written
from tests.servers import ServerProcess

HALF = rules.l1_unstructured(0.5)
SOUND = weight(1, 2, 3, 4)
OTHER = weight(0, 0, 3, 4)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def prune(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pruning_client", *map(str, words)], capture_output=True, text=True, check=False
    )


def reporting(input_sha256: str = "", result_sha256: str = "") -> Report:
    return report_of([pb.Report(last=True, input_sha256=input_sha256, result_sha256=result_sha256)])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "in.safetensors", SOUND)


@pytest.fixture
def digests() -> Digests:
    """Of a call that sent `ab` and received `c`."""
    taken = Digests()
    assert list(taken.sending([b"a", memoryview(b"b")])) == [b"a", b"b"]
    taken.received(memoryview(b"c"))
    return taken


def test_the_same_bytes_on_both_sides_pass(digests: Digests) -> None:
    digests.check(reporting(input_sha256=sha256(b"ab"), result_sha256=sha256(b"c")), has_result=True)
    digests.check(reporting(input_sha256=sha256(b"ab")), has_result=False)


@pytest.mark.parametrize(
    ("answer", "field", "message"),
    [
        pytest.param(reporting(), "report.input_sha256", "told none", id="none"),
        pytest.param(reporting(input_sha256=sha256(b"ab")), "report.result_sha256", "told none", id="only one"),
        pytest.param(
            reporting(input_sha256=sha256(b"x"), result_sha256=sha256(b"c")),
            "report.input_sha256",
            "received another file than was sent",
            id="input",
        ),
        pytest.param(
            reporting(input_sha256=sha256(b"ab"), result_sha256=sha256(b"x")),
            "report.result_sha256",
            "sent another result than came",
            id="result",
        ),
    ],
)
def test_other_bytes_on_either_side_are_refused(digests: Digests, answer: Report, field: str, message: str) -> None:
    with pytest.raises(ProtocolError, match=f"{field}: .*{message}") as caught:
        digests.check(answer, has_result=True)
    assert caught.value.metadata["field"] == field


def test_report_tells_the_digests_of_both_files(server: ServerProcess, file: Path, tmp_path: Path) -> None:
    with Client(server.address) as client:
        done = client.prune_file(file, tmp_path / "out", HALF, digests=True)
    assert (done.input_sha256, done.result_sha256) == (sha256(SOUND), sha256((tmp_path / "out").read_bytes()))


def test_dry_run_tells_the_digest_of_what_came(server: ServerProcess, file: Path) -> None:
    with Client(server.address) as client:
        done = client.dry_run(file, HALF, digests=True)
    assert (done.input_sha256, done.result_sha256) == (sha256(SOUND), None)


def test_without_asking_none_are_told(server: ServerProcess, file: Path) -> None:
    with Client(server.address) as client:
        done = client.prune(file, HALF).report
    assert (done.input_sha256, done.result_sha256) == (None, None)


def test_command_line_prints_what_sha256sum_would(server: ServerProcess, file: Path, tmp_path: Path) -> None:
    rule = ["--method", "l1_unstructured", "--amount", "0.5"]
    done = prune("run", file, "-o", tmp_path / "out", *rule, "--digests", "--server", server.address)
    assert done.stdout.splitlines()[-3:] == [
        f"sha256   {sha256(SOUND)} input",
        f"sha256   {sha256((tmp_path / 'out').read_bytes())} result",
        f"wrote {tmp_path / 'out'}",
    ]


def test_plan_has_no_digests(file: Path) -> None:
    done = prune("run", file, "--method", "l1_unstructured", "--amount", "0.5", "--plan", "--digests")
    assert (done.returncode, "leave out --digests" in done.stderr) == (2, True)


@pytest.fixture
def scripted() -> Iterator[str]:
    """A server that sends `OTHER` for anything; what it says of it is true only where `SOUND` came."""

    def script(requests: Iterator[pb.PruneRequest], _: grpc.ServicerContext) -> Iterator[pb.PruneResponse]:
        came = b"".join(request.data for request in requests)
        yield from (plan(len(OTHER)), data(OTHER))
        yield report(input_sha256=sha256(came), result_sha256=sha256(OTHER if came == SOUND else SOUND))

    with scripted_server(script) as address:
        yield address


def test_digests_of_a_result_as_it_came_pass(scripted: str, file: Path, tmp_path: Path) -> None:
    with Client(scripted) as client:
        done = client.prune_file(file, tmp_path / "out", HALF, digests=True)
    assert (done.input_sha256, done.result_sha256) == (sha256(SOUND), sha256(OTHER))


def test_result_that_was_changed_on_its_way_never_counts(scripted: str, tmp_path: Path) -> None:
    another = written(tmp_path / "another", weight(9, 9, 9, 9))
    with Client(scripted) as client, pytest.raises(ProtocolError, match="sent another result than came"):
        client.prune_file(another, tmp_path / "out", HALF, digests=True)
    assert not (tmp_path / "out").exists()
