"""A method written against torch and installed on a server prunes through the service by its name."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pruning_client import Client, rules
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from tests.servers import ServerProcess, running_server
from tests.service.calls.test_prune import tensors
from tests.service.raw import f32, file, prune
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
"""


@pytest.fixture(scope="module")
def server_with_method(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server beside which a distribution with one entry point is installed."""
    site = tmp_path_factory.mktemp("site")
    (site / "every_nth.py").write_text(METHOD, encoding="utf-8")
    info = site / "every_nth-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: every-nth\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(
        "[pruning_engine.methods]\nevery_nth = every_nth:EveryNth\n", encoding="utf-8"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(site), str(Path.cwd())]))
        with running_server() as server:
            yield server


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

    assert [listed.name for listed in offered if listed.installed] == ["every_nth"]


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
