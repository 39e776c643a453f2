"""The log: what it says of clients that misbehave."""

import json
import logging
import time

import pytest

from pruning_service.observability.log_format import configure
from tests.campaigns.calls import encoded, line_to
from tests.campaigns.cuts import model
from tests.campaigns.observed import RESERVED, gauge, seconds_until_free
from tests.servers import running_server
from tests.service.raw import data, f32, file, options, prune, wait_until

LARGE = model(8, 65_536)
CONTENT = file({"a.weight": ("F32", [2, 2], f32(4, -1, 3, -2))})


def test_a_client_that_vanishes_in_the_middle_of_a_write_leaves_one_line() -> None:
    with running_server() as server:
        with line_to(server.address) as line:
            call = line.unread(encoded([options(LARGE), *data(LARGE)]))
            assert wait_until(lambda: gauge(server, RESERVED) > 0)
            time.sleep(0.3)  # by now the server waits for the client to take its result
            call.cancel()
        seconds_until_free(server)
        assert wait_until(lambda: len(server.log) > 1)
        (line_of_call,) = server.log[1:]

    assert "outcome=CANCELLED" in line_of_call


def test_log_is_one_json_object_per_line() -> None:
    with running_server(log_format="json") as server:
        prune(server.address, CONTENT)
        prune(server.address, CONTENT[:-1])
        assert wait_until(lambda: len(server.log) > 2)
        listening, pruned, refused = map(json.loads, server.log[:3])
    assert (listening["address"], listening["level"]) == (server.address, "info")
    assert pruned["message"].startswith(f"prune request_id={pruned['request_id']} ")
    assert (pruned["outcome"], pruned["entries"], pruned["pruned"], pruned["device"]) == ("OK", 4, 2, "cpu")
    assert pruned["received_bytes"] == len(CONTENT)
    assert isinstance(pruned["seconds"], float)
    assert time.strptime(pruned["time"][:19], "%Y-%m-%dT%H:%M:%S")
    assert refused["outcome"] == "TOTAL_BYTES_MISMATCH"
    assert "entries" not in refused


def test_json_has_the_traceback_of_a_failure(capfd: pytest.CaptureFixture[str]) -> None:
    root, handlers, level = logging.getLogger(), logging.getLogger().handlers[:], logging.getLogger().level
    try:
        configure("info", "json")
        try:
            raise ValueError("no\nway")
        except ValueError:
            logging.getLogger("pruning_service.test").exception("request_id=%s failed", "abc")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    (line,) = capfd.readouterr().err.splitlines()
    found = json.loads(line)
    assert (found["request_id"], found["level"], found["message"]) == ("abc", "error", "request_id=abc failed")
    assert found["exception"].endswith("ValueError: no\nway")
