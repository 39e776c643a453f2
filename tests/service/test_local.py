"""A run in this process: the messages of a server, without one."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from pruning_proto.framing import Data
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service import local
from pruning_service.local import LocalSettings, settings_from
from tests.servers import ServerProcess
from tests.service import raw
from tests.service.raw import Outcome, f32, file, l1

CONTENT = file({"a.weight": ("F32", [2, 2], f32(4, -1, 3, -2)), "b": ("I64", [1], bytes(8))})
WITH_NAN = file({"a.weight": ("F32", [1, 2], f32(float("nan"), 1))})


def pieces(content: bytes, size: int = 7) -> Iterable[Data]:
    """Cut a file; every piece has the memory of the one before."""
    memory = bytearray(size)
    for begin in range(0, len(content), size):
        piece = content[begin : begin + size]
        memory[: len(piece)] = piece
        yield memoryview(memory)[: len(piece)]


def prune(content: bytes, settings: LocalSettings | None = None, **fields: object) -> Outcome:
    """Prune a file in this process; its outcome as a raw call's."""
    outcome = Outcome()

    def receive(message: pb.PruneResponse | memoryview) -> None:
        is_data = isinstance(message, memoryview)
        outcome.responses.append(pb.PruneResponse(data=bytes(message)) if is_data else message)  # type: ignore[arg-type]

    request = raw.options(content, **fields)  # type: ignore[arg-type]
    local.prune(request.options, pieces(content), receive, settings)
    return outcome


@pytest.mark.parametrize("output", [pb.OUTPUT_FORM_PRUNED, pb.OUTPUT_FORM_PACKED, pb.OUTPUT_FORM_MASK])
def test_result_is_the_servers(server: ServerProcess, output: "pb.OutputForm") -> None:
    here, there = prune(CONTENT, output=output), raw.prune(server.address, CONTENT, output=output)
    assert here.data == there.data
    assert list(here.report.tensors) == list(there.report.tensors)
    assert list(here.plan.tensors) == list(there.plan.tensors)


def test_digests_are_the_servers(server: ServerProcess) -> None:
    here, there = prune(CONTENT, digests=True).report, raw.prune(server.address, CONTENT, digests=True).report
    assert (here.input_sha256, here.result_sha256) == (there.input_sha256, there.result_sha256)


def test_messages_come_in_the_servers_order() -> None:
    outcome = prune(CONTENT)
    assert outcome.kinds[0] == "plan"
    assert outcome.kinds[-1] == "report"


@pytest.mark.parametrize(
    ("content", "rules"),
    [(WITH_NAN, [l1(0.5)]), (CONTENT, [l1(1.5)]), (CONTENT[:-1], [l1(0.5)]), (b"?" * 100, [l1(0.5)])],
    ids=["engine", "recipe", "size", "header"],
)
def test_failure_is_the_servers(server: ServerProcess, content: bytes, rules: list[pb.Rule]) -> None:
    here, there = prune(content, rules=rules).failure, raw.prune(server.address, content, rules=rules).failure
    for failure in (here, there):
        assert failure.metadata.pop("request_id")
    assert here == there


def test_model_above_the_memory_limit_is_refused() -> None:
    failure = prune(CONTENT, replace(settings_from({}), memory_bytes=10)).failure
    assert failure.reason == Reason.MODEL_TOO_LARGE
    assert "may hold 10" in failure.message


def test_plan_needs_the_header_only() -> None:
    outcome = Outcome()
    options = raw.options(CONTENT, output=pb.OUTPUT_FORM_PLAN).options
    local.prune(options, [CONTENT[: -(16 + 8)]], outcome.responses.append)  # type: ignore[arg-type]
    assert outcome.kinds == ["plan"]


def test_body_is_asked_for_after_the_plan() -> None:
    kinds: list[str] = []

    def header_and_body() -> Iterable[Data]:
        yield CONTENT[: -(16 + 8)]
        kinds.append("body")
        yield CONTENT[-(16 + 8) :]

    def receive(message: pb.PruneResponse | memoryview) -> None:
        kinds.append("data" if isinstance(message, memoryview) else str(message.WhichOneof("message")))

    local.prune(raw.options(CONTENT).options, header_and_body(), receive)
    assert kinds.index("plan") < kinds.index("body")


class CallersError(Exception):
    """Whatever the caller's own code may raise."""


def failing_pieces() -> Iterable[Data]:
    yield CONTENT[:20]
    raise CallersError


def failing_receive(_: object) -> None:
    raise CallersError


@pytest.mark.parametrize(
    ("content", "receive"),
    [(failing_pieces, lambda _: None), (lambda: pieces(CONTENT), failing_receive)],
    ids=["pieces", "receive"],
)
def test_errors_of_the_caller_are_raised_as_they_are(
    content: Callable[[], Iterable[Data]], receive: Callable[[object], None]
) -> None:
    with pytest.raises(CallersError):
        local.prune(raw.options(CONTENT).options, content(), receive)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("worker-")]


def test_interrupt_ends_a_run() -> None:
    def interrupting() -> Iterable[Data]:
        yield CONTENT[:20]
        os.kill(os.getpid(), signal.SIGINT)
        yield CONTENT[20:]

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a run is started with it ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            local.prune(raw.options(CONTENT).options, interrupting(), lambda _: None)
    finally:
        signal.signal(signal.SIGINT, before)


def test_settings_are_read_as_a_server_reads_them() -> None:
    assert settings_from({"PRUNING_MEMORY_BYTES": "1000", "PRUNING_TOKEN_FILE": "/a", "HOME": "/"}).memory_bytes == 1000
    with pytest.raises(ValueError, match="PRUNING_THREADS"):
        settings_from({"PRUNING_THREADS": "0"})


def test_local_run_imports_no_grpc_torch_or_metrics() -> None:
    code = textwrap.dedent(f"""
        import sys
        from pruning_proto.v1 import pruning_pb2 as pb
        from pruning_service import local
        options = pb.PruneOptions.FromString({raw.options(CONTENT).options.SerializeToString()!r})
        local.prune(options, [{CONTENT!r}], lambda message: None)
        local.capabilities(local.settings_from({{"PRUNING_TOKEN_FILE": "/tokens"}}))
        print(*sorted({{"grpc", "torch", "prometheus_client", "pydantic"}} & set(sys.modules)))
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
