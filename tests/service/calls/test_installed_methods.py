"""A method written against torch and installed on a server prunes through the service by its name."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from pruning_client import Client, rules
from pruning_proto.names import PRUNE_PATH
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from tests.campaigns.observed import is_free, seconds_until_free
from tests.servers import ServerProcess, running_server
from tests.service.calls.test_prune import tensors
from tests.service.raw import data, f32, file, options, prune, wait_until
from tests.service.test_server import capabilities

CONTENT = file({"a.weight": ("F32", [2, 3], f32(1, 2, 3, 4, 5, 6))})

METHOD = """
import torch.nn.utils.prune

class EveryNth(torch.nn.utils.prune.BasePruningMethod):
    PRUNING_TYPE = "unstructured"

    def __init__(self, n):
        self.n = n

    def compute_mask(self, t, default_mask):
        mask = default_mask.clone()
        mask.view(-1)[:: self.n] = 0
        return mask

class Endless(torch.nn.utils.prune.BasePruningMethod):
    PRUNING_TYPE = "unstructured"

    def __init__(self, begun):
        self.begun = begun

    def compute_mask(self, t, default_mask):
        if self.begun:
            open(self.begun, "w").close()
        while self.begun:
            try:
                t = t + 0
            except Exception:
                pass
        return default_mask
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a distribution of two entry points."""
    site = tmp_path_factory.mktemp("site")
    (site / "every_nth.py").write_text(METHOD, encoding="utf-8")
    info = site / "every_nth-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: every-nth\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(
        "[pruning_engine.methods]\nendless = every_nth:Endless\nevery_nth = every_nth:EveryNth\n", encoding="utf-8"
    )
    return site


@contextmanager
def server_beside(site: Path, **settings: str) -> Iterator[ServerProcess]:
    """Run a server beside which the distribution is installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(site), str(Path.cwd())]))
        with running_server(**settings) as server:
            yield server


@pytest.fixture(scope="module")
def server_with_method(site: Path) -> Iterator[ServerProcess]:
    with server_beside(site) as server:
        yield server


@contextmanager
def endless_call(server: ServerProcess, begun: Path) -> Iterator[None]:
    """Have a method run that does not end, while inside; afterwards the call is cancelled."""
    rule = method("endless", begun=pb.Argument(text=str(begun)))
    with grpc.insecure_channel(server.address) as channel:
        prune = channel.stream_stream(PRUNE_PATH, pb.PruneRequest.SerializeToString, pb.PruneResponse.FromString)
        responses = prune(iter([options(CONTENT, rules=[rule]), *data(CONTENT)]))
        try:
            assert wait_until(begun.exists, 60)
            yield
        finally:
            responses.cancel()


def method(name: str, **arguments: pb.Argument) -> pb.Rule:
    return pb.Rule(score=pb.Score(method=pb.CustomMethod(name=name, arguments=arguments)))


def test_the_client_builds_a_rule_for_it(server_with_method: ServerProcess, tmp_path: Path) -> None:
    source, target = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    source.write_bytes(CONTENT)
    with Client(server_with_method.address) as client:
        client.prune_file(source, target, rules.installed_method("every_nth", {"n": 3}))

    assert tensors(target.read_bytes()) == {"a.weight": f32(0, 2, 3, 0, 5, 6)}


def test_it_is_listed_among_what_the_server_offers(server_with_method: ServerProcess) -> None:
    offered = capabilities(server_with_method.address).methods

    assert [listed.name for listed in offered if listed.installed] == ["endless", "every_nth"]


def test_it_prunes_by_its_name_and_arguments(server_with_method: ServerProcess) -> None:
    outcome = prune(server_with_method.address, CONTENT, rules=[method("every_nth", n=pb.Argument(integer=2))])

    assert tensors(outcome.data) == {"a.weight": f32(0, 2, 0, 4, 0, 6)}
    assert not outcome.report.reproducible


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        pytest.param(method("nowhere"), "nowhere", id="not installed"),
        pytest.param(method("every_nth"), "n", id="an argument is missing"),
        pytest.param(method("every_nth", n=pb.Argument()), 'arguments["n"]', id="an argument without a value"),
        pytest.param(method("every_nth", n=pb.Argument(integer=0)), "a.weight", id="the method fails"),
    ],
)
def test_what_does_not_fit_is_refused(server_with_method: ServerProcess, rule: pb.Rule, names: str) -> None:
    failure = prune(server_with_method.address, CONTENT, rules=[rule]).failure

    assert failure.reason == Reason.INVALID_RECIPE
    assert names in failure.message


def test_method_that_does_not_end_is_interrupted_when_its_call_is_cancelled(
    server_with_method: ServerProcess, tmp_path: Path
) -> None:
    with endless_call(server_with_method, tmp_path / "begun"):
        assert not is_free(server_with_method)
    seconds_until_free(server_with_method, 60)
    outcome = prune(server_with_method.address, CONTENT, rules=[method("every_nth", n=pb.Argument(integer=2))])
    assert tensors(outcome.data) == {"a.weight": f32(0, 2, 0, 4, 0, 6)}


def test_method_that_does_not_end_keeps_no_server_from_stopping(site: Path, tmp_path: Path) -> None:
    with server_beside(site, drain_seconds="0.1") as server, endless_call(server, tmp_path / "begun"):
        assert server.stop() == 0
    assert any(line.endswith("stopped\n") for line in server.log), server.log
