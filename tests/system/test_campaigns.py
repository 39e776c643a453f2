"""The campaigns in short: nothing that clients, networks or operators do breaks the service. In full: `make soak`."""

import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from tests.campaigns import (
    cuts,
    disorder,
    grpc_js,
    headers,
    hostile,
    killed_clients,
    killed_jobs,
    load,
    proxies,
    refusals,
    stopped_servers,
)
from tests.campaigns.calls import line_to
from tests.campaigns.endurance.run import Form, secured
from tests.campaigns.figures import Figures, complaints
from tests.campaigns.observed import seconds_until_free
from tests.campaigns.stopped_servers import Pair, pair_of_servers
from tests.campaigns.targets import strangers, worst_calls
from tests.servers import ServerProcess, server_as_in_the_image
from tests.service.secured import health_of

SIGNALS = pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "told to stop"])
CLIENTS = pytest.mark.parametrize("client", load.CLIENTS)
INSTALLED = {"Envoy", "grpc-js"}
WAYS = [
    pytest.param(client, path, marks=[pytest.mark.integration] if {client, path} & INSTALLED else [])
    for client in refusals.CLIENTS
    for path in refusals.PATHS
]


def broken(campaigns: Iterable[Figures]) -> list[str]:
    """Return what broke in campaigns that tried something."""
    figures = list(campaigns)
    assert all(each.tried for each in figures)
    return [complaints(each) for each in figures if each.broken]


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with pair_of_servers() as servers:
        yield servers


def test_stream_may_be_cut_at_every_byte(server: ServerProcess) -> None:
    assert broken(cuts.cut_at_every_byte(server)) == []


def test_processes_of_jobs_may_be_killed(tmp_path: Path) -> None:
    assert broken([killed_jobs.killed_jobs(tmp_path, kills=4)]) == []


def test_stream_may_be_cut_at_every_message(server: ServerProcess) -> None:
    assert broken(cuts.cut_at_every_message(server, every=4)) == []


def test_message_that_does_not_belong_is_refused_wherever_it_comes(server: ServerProcess) -> None:
    assert broken(disorder.foreign_messages(server)) == []


def test_shuffled_messages_are_what_they_amount_to(server: ServerProcess) -> None:
    assert broken([disorder.shuffled_messages(server, calls=200)]) == []


def test_headers_are_taken_and_refused_as_by_safetensors(server: ServerProcess) -> None:
    assert broken(headers.fuzzed_headers(server, examples=100)) == []


def test_hostile_streams_leave_nothing_behind() -> None:
    with server_as_in_the_image(**hostile.SETTINGS) as server:
        assert broken([hostile.hostile_streams(server, streams=48, at_once=24)]) == []


@pytest.mark.timeout(600)  # two dozen kinds of calls, a few processes among them
def test_honest_clients_of_every_kind_lose_nothing(tmp_path: Path) -> None:
    form = Form(seconds=1, clients=2, largest_bytes=20_000_000, rest_seconds=1)
    assert broken([secured(tmp_path, form)]) == []


def test_what_killed_clients_held_is_free_again(server: ServerProcess, tmp_path: Path) -> None:
    assert broken([killed_clients.killed_clients(server, tmp_path, kills=8, most_seconds=20)]) == []


@SIGNALS
@CLIENTS
def test_client_finishes_on_the_other_server(pair: Pair, tmp_path: Path, client: str, number: signal.Signals) -> None:
    assert broken([stopped_servers.taken_over(pair, tmp_path, client, "directly", number, rounds=1)]) == []


@pytest.mark.integration
@SIGNALS
def test_client_finishes_on_the_other_server_behind_envoy(pair: Pair, tmp_path: Path, number: signal.Signals) -> None:
    assert broken([stopped_servers.taken_over(pair, tmp_path, "Client", "Envoy", number, rounds=1)]) == []


def test_server_that_is_told_to_stop_finishes_what_it_has_taken(tmp_path: Path) -> None:
    assert broken([stopped_servers.drained(tmp_path, "Client", rounds=1)]) == []


@pytest.mark.parametrize(("client", "path"), WAYS)
def test_every_refusal_arrives(server: ServerProcess, tmp_path: Path, client: str, path: str) -> None:
    if path == "nginx" and proxies.nginx_binary() is None:
        pytest.skip(proxies.NGINX_MISSING)
    if client == "grpc-js" and not grpc_js.is_installable():
        pytest.skip(grpc_js.MISSING)
    assert broken([refusals.refusals(server, tmp_path, client, path, times=8)]) == []


@pytest.mark.parametrize("name", worst_calls.WORST)
def test_worst_call_within_the_limits_is_answered_or_cancelled(server: ServerProcess, name: str) -> None:
    with line_to(server.address) as line:
        outcome = line.cancelled(worst_calls.WORST[name]())
    assert outcome.code in {grpc.StatusCode.OK, grpc.StatusCode.CANCELLED, grpc.StatusCode.INVALID_ARGUMENT}
    seconds_until_free(server)


@pytest.mark.parametrize("name", strangers.STRANGERS)
def test_strangers_leave_nothing_behind(server: ServerProcess, name: str) -> None:
    with suppress(OSError), strangers.STRANGERS[name](server.address, 4):
        pass
    seconds_until_free(server)
    assert health_of(server.address) == health_pb2.HealthCheckResponse.SERVING
