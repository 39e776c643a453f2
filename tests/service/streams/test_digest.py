"""Digests for audit: of the file and of the result, in the report and in the log, only if asked for."""

import hashlib

import pytest

from pruning_proto.v1 import pruning_pb2 as pb
from tests.servers import ServerProcess, running_server
from tests.service.raw import Outcome, f32, file, prune

SMALL = file({"a.weight": ("F32", [2, 2], f32(4, -1, 3, -2))})
LARGE = file({f"{index}.weight": ("F32", [1024, 1024], bytes([index]) * (1 << 22)) for index in range(5)})


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "many chunks"])
def test_the_report_tells_what_came_and_what_went(server: ServerProcess, content: bytes) -> None:
    outcome = prune(server.address, content, digests=True)

    assert outcome.report.input_sha256 == sha256(content)
    assert outcome.report.result_sha256 == sha256(outcome.data)


def test_a_dry_run_has_no_result_to_digest(server: ServerProcess) -> None:
    report = prune(server.address, SMALL, digests=True, output=pb.OUTPUT_FORM_REPORT).report

    assert (report.input_sha256, report.result_sha256) == (sha256(SMALL), "")


def test_nothing_is_digested_unless_asked(server: ServerProcess) -> None:
    report = prune(server.address, SMALL).report

    assert (report.input_sha256, report.result_sha256) == ("", "")


def test_the_log_line_has_the_digests() -> None:
    with running_server() as server:
        outcome = prune(server.address, SMALL, digests=True)
        server.stop()

    assert f"input_sha256={sha256(SMALL)} result_sha256={sha256(outcome.data)}" in line_of(server, outcome)


def line_of(server: ServerProcess, outcome: Outcome) -> str:
    return next(line for line in server.log if f"prune request_id={outcome.plan.request_id}" in line)
