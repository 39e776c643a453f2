"""`prune_sequentially` and its async twin on real small models, with a real server."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pruning_client import AsyncClient, Client, rules
from pruning_client.errors import MismatchError, RecipeError
from pruning_client.results.result import Result
from pruning_client.torch import collect_statistics, prune_sequentially, prune_sequentially_async
from tests.client.torch import tiny_models as models
from tests.servers import ServerProcess

HALF = rules.wanda(0.5)
BY_MAGNITUDE = rules.l1_unstructured(0.5)
BATCHES = [models.padded((7, 4)), models.tokens(seed=3)]


class Watched:
    """A client that keeps what it is asked, and may fail after some calls."""

    def __init__(self, client: Client, most_calls: int = 100) -> None:
        self._client = client
        self._left = most_calls
        self.statistics: list[Any] = []

    def prune(self, source: Any, rules: Any, *, statistics: Any = None) -> Result:
        if not self._left:
            raise ConnectionError("the network is gone")
        self._left -= 1
        self.statistics.append(statistics)
        return self._client.prune(source, rules, statistics=statistics)


def in_blocks(model: nn.Module) -> dict[str, Tensor]:
    names = (".layers.", ".h.", ".layer.")
    return {
        name: tensor.clone()
        for name, tensor in model.state_dict().items()
        if tensor.dim() > 1 and any(part in name for part in names) and "norm" not in name and "ln" not in name
    }


MODELS = [models.llama, models.gpt2, models.bert, models.mixtral, models.gpt_oss]


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_each_block_is_pruned_by_what_the_pruned_ones_produce(
    server: ServerProcess, make: Callable[[], nn.Module]
) -> None:
    model = make()
    with Client(server.address) as client:
        watched = Watched(client)
        report = prune_sequentially(watched, model, BATCHES, HALF)
    assert len(report.blocks) == len(watched.statistics) == 2
    assert report.sparsity == pytest.approx(0.5, abs=0.01)
    assert [block.tokens for block in report.blocks] == [25, 25]
    expected = collect_statistics(model, BATCHES, kind="gram")  # the blocks before the last one are as it saw them
    found = watched.statistics[1]
    first = next(iter(found.tensors)).rpartition(":")[0]  # its input does not depend on the block's own weights
    for suffix in (":in_gram", ":in_sum2", ":in_sum", ":in_count"):
        np.testing.assert_allclose(
            values(found.tensors[first + suffix]), values(expected.tensors[first + suffix]), rtol=1e-5, atol=1e-5
        )


def values(tensor: Any) -> Any:
    return np.frombuffer(tensor.data(), {"F32": "<f4", "F64": "<f8"}[tensor.dtype])


def test_rule_that_uses_no_statistics_gets_none(server: ServerProcess) -> None:
    model, by_hand = models.llama(), models.llama()
    with Client(server.address) as client:
        prune_sequentially(client, model, BATCHES, BY_MAGNITUDE)
        for number in range(2):
            state = {key: value for key, value in by_hand.state_dict().items() if f".layers.{number}." in key}
            by_hand.load_state_dict(client.prune(state, BY_MAGNITUDE).state_dict, strict=False)
    for name, tensor in by_hand.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


def test_interrupted_run_goes_on_from_its_folder(server: ServerProcess, tmp_path: Path) -> None:
    whole, model = models.llama(), models.llama()
    with Client(server.address) as client:
        prune_sequentially(client, whole, BATCHES, HALF)
        with pytest.raises(ConnectionError):
            prune_sequentially(Watched(client, 1), model, BATCHES, HALF, folder=tmp_path / "run")
        for again in (models.llama(), model):  # loaded anew, and as the failure left it
            watched = Watched(client)
            report = prune_sequentially(watched, again, BATCHES, HALF, folder=tmp_path / "run")
            assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in whole.state_dict().items())
    assert [block.is_resumed for block in report.blocks] == [True, True]
    assert report.sparsity == pytest.approx(0.5, abs=0.01)
    assert watched.statistics == []


@pytest.mark.parametrize("other", ["rules", "batches", "model"])
def test_folder_of_another_run_is_refused(server: ServerProcess, tmp_path: Path, other: str) -> None:
    with Client(server.address) as client:
        prune_sequentially(client, models.llama(), BATCHES, HALF, folder=tmp_path)
        given = rules.wanda(0.6) if other == "rules" else HALF
        batches = BATCHES[:1] if other == "batches" else BATCHES
        model = models.llama()
        if other == "model":
            with torch.no_grad():
                model.model.layers[1].mlp.up_proj.weight[0, 0] += 1  # type: ignore[union-attr,index]
        message = "was pruned from other weights" if other == "model" else f"a run with other {other}"
        with pytest.raises(MismatchError, match=message):
            prune_sequentially(client, model, batches, given, folder=tmp_path)


def test_random_rules_go_on_with_their_seed(server: ServerProcess, tmp_path: Path) -> None:
    rule, whole, again = rules.random_unstructured(0.5), models.llama(), models.llama()
    with Client(server.address) as client:
        with pytest.raises(ConnectionError):
            prune_sequentially(Watched(client, 2), whole, BATCHES, rule, folder=tmp_path)
        prune_sequentially(client, again, BATCHES, rule, folder=tmp_path)
    first = "model.layers.0.mlp.up_proj.weight"
    assert torch.equal(whole.state_dict()[first], again.state_dict()[first])


def test_async_twin_does_the_same(server: ServerProcess) -> None:
    one, other = models.llama(), models.llama()

    async def run() -> None:
        async with AsyncClient(server.address) as client:
            report = await prune_sequentially_async(client, other, BATCHES, HALF)
        assert report.sparsity == pytest.approx(0.5, abs=0.01)

    with Client(server.address) as client:
        prune_sequentially(client, one, BATCHES, HALF)
    asyncio.run(run())
    assert all(torch.equal(other.state_dict()[name], tensor) for name, tensor in one.state_dict().items())
    assert torch.is_grad_enabled()


def test_rules_for_some_blocks_leave_the_others(server: ServerProcess) -> None:
    model, before = models.llama(), models.llama().state_dict()
    several = [
        rules.l1_unstructured(0.5, include="*.layers.1.mlp.*.weight"),
        rules.l1_unstructured(
            0.5, include=["*.layers.0.self_attn.q_proj.weight", "*.layers.1.self_attn.q_proj.weight"]
        ),
    ]
    with Client(server.address) as client:
        prune_sequentially(client, model, BATCHES, several)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {
        *(f"model.layers.{number}.self_attn.q_proj.weight" for number in range(2)),
        *(f"model.layers.1.mlp.{name}_proj.weight" for name in ("gate", "up", "down")),
    }


def test_model_without_weights_to_select_in_a_block_is_no_error(server: ServerProcess) -> None:
    class Activations(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 2, bias=False))])

        def forward(self, inputs: Tensor) -> Tensor:
            for block in self.blocks:
                inputs = block(inputs)
            return inputs

    with Client(server.address) as client:
        rule = rules.l1_unstructured(0.5, exclude="blocks.0.*")
        report = prune_sequentially(client, Activations(), [torch.ones(1, 2)], rule)
    assert [block.pruned for block in report.blocks] == [0, 2]
    assert "blocks.1.0" not in str(report)
    assert str(report).splitlines()[-1].split() == ["all", "4", "2", "50.00%"]


def test_mode_and_hooks_are_restored(server: ServerProcess) -> None:
    model = models.llama().train()
    with Client(server.address) as client, pytest.raises(ConnectionError):
        prune_sequentially(Watched(client, 0), model, BATCHES, HALF)
    assert model.training
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())


class Between(nn.Module):
    """Blocks that are called in a way that is not supported."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.blocks = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])

    def forward(self, inputs: Tensor) -> Tensor:
        first, second = self.blocks
        if self.how == "reversed":
            return first(second(inputs))  # type: ignore[no-any-return]
        if self.how == "one":
            return first(inputs)  # type: ignore[no-any-return]
        return second(first(inputs) + 1)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("reversed", r"blocks\.1 is not called in its turn"),
        ("one", "only 1 of 2 blocks were called"),
        ("something between", "is not called with the output of the block before it"),
    ],
)
def test_other_ways_of_calling_blocks_are_refused(how: str, message: str) -> None:
    with Client("localhost:1") as client, pytest.raises(MismatchError, match=message):
        prune_sequentially(client, Between(how), [torch.ones(1, 2)], HALF)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"rules": rules.l1_unstructured(0.5, scope="global")}, RecipeError, "cannot compete for one amount"),
        ({"rules": rules.remove_units(0.5, map="llama_mlp")}, RecipeError, "not pruned block by block"),
        (
            {"rules": rules.l1_unstructured(0.5, include="x.*")},
            MismatchError,
            r"'x\.\*' matches no tensor of the blocks",
        ),
        ({"blocks": "model.norm"}, MismatchError, "no nn.ModuleList of blocks at 'model.norm'; it has model.layers"),
        ({"batches": []}, MismatchError, "there are no batches"),
    ],
    ids=["global", "units", "pattern", "blocks", "batches"],
)
def test_what_is_not_valid_is_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    given, batches = options.pop("rules", HALF), options.pop("batches", BATCHES)
    with Client("localhost:1") as client, pytest.raises(error, match=message):
        prune_sequentially(client, models.llama(), batches, given, **options)
