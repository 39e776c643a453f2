"""`find_amount` and `find_amounts` on a real model, with a real server and an evaluation that is computed."""

import asyncio
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pruning_client import AsyncClient, Client, rules
from pruning_client.errors import MismatchError, RecipeError
from pruning_client.torch import find_amount, find_amount_async, find_amounts, find_amounts_async
from tests.servers import ServerProcess

INPUTS = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Two layers; the second one's weights are much larger at some places, so that it can lose most."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.first, self.second = nn.Linear(16, 32), nn.Linear(32, 16)
        with torch.no_grad():
            self.first.weight.copy_(torch.randn(32, 16, generator=generator))
            self.second.weight.copy_(torch.randn(16, 32, generator=generator) ** 7)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.second(torch.relu(self.first(inputs)))
        return outputs


@torch.no_grad()
def error_of(model: nn.Module) -> float:
    """Return the relative error of the outputs: 0 for the dense model."""
    expected = Net()(INPUTS)
    return float((model(INPUTS) - expected).norm() / expected.norm())


@pytest.fixture(autouse=True)
def same_biases() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def net() -> Net:
    torch.manual_seed(0)
    return Net()


def fidelity(model: nn.Module) -> float:
    torch.manual_seed(0)
    return 1 - error_of(model)


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.address) as client:
        yield client


def is_unchanged(model: nn.Module) -> bool:
    return all(torch.equal(tensor, net().state_dict()[name]) for name, tensor in model.state_dict().items())


def test_largest_amount_within_the_loss_is_found_and_the_model_restored(client: Client) -> None:
    model = net()
    found = find_amount(client, model, rules.l1_unstructured, fidelity, max_loss=0.1)
    assert is_unchanged(model)
    assert found.best in found.history
    assert 0 < found.best.loss <= 0.1
    above = [each for each in found.history if each.amounts["all"] > found.amount]
    assert all(each.loss > 0.1 for each in above)
    assert min(each.amounts["all"] for each in above) - found.amount <= 0.01
    assert found.rules is not None
    state = client.prune(model.state_dict(), found.rules).state_dict
    model.load_state_dict(state)
    assert fidelity(model) == pytest.approx(found.best.score)


def test_lower_may_be_better(client: Client) -> None:
    found = find_amount(
        client, net(), rules.l1_unstructured, lambda model: 1 - fidelity(model), max_loss=0.1, better="lower"
    )
    other = find_amount(client, net(), rules.l1_unstructured, fidelity, max_loss=0.1)
    assert found.amount == other.amount


def test_evaluation_the_wrong_way_round_is_refused(client: Client) -> None:
    model = net()
    with pytest.raises(MismatchError, match="say better='lower' if it is not"):
        find_amount(client, model, rules.l1_unstructured, lambda model: 1 - fidelity(model), max_loss=0.1)
    assert is_unchanged(model)


def test_model_is_restored_after_an_error(client: Client) -> None:
    model, calls = net(), []

    def evaluate(model: nn.Module) -> float:
        calls.append(is_unchanged(model))
        if len(calls) == 3:
            raise ZeroDivisionError
        return fidelity(model)

    with pytest.raises(ZeroDivisionError):
        find_amount(client, model, rules.l1_unstructured, evaluate, max_loss=0.1)
    assert calls == [True, False, False]
    assert is_unchanged(model)


def test_dense_model_is_the_best_if_nothing_is_within(client: Client) -> None:
    found = find_amount(
        client, net(), rules.l1_unstructured, lambda model: float(is_unchanged(model)), max_loss=0.5, most_evaluations=3
    )
    assert (found.amount, found.sparsity, found.rules) == (0.0, 0.0, None)
    assert len(found.history) == 4


def test_scores_that_are_not_numbers_are_over_the_limit(client: Client) -> None:
    found = find_amount(
        client, net(), rules.l1_unstructured, lambda model: 1.0 if is_unchanged(model) else math.nan, max_loss=0.5
    )
    assert found.amount == 0.0
    assert all(each.loss == math.inf for each in found.history[1:])


GROUPS = {"first": "first.*", "second": ["second.*"]}


def test_groups_get_amounts_by_their_sensitivity(client: Client) -> None:
    model = net()
    found = find_amounts(client, model, rules.l1_unstructured, fidelity, groups=GROUPS, max_loss=0.1)
    alone = find_amount(client, model, rules.l1_unstructured, fidelity, max_loss=0.1)
    assert is_unchanged(model)
    assert found.amounts["second"] > found.amounts["first"]
    assert found.sparsity > alone.sparsity
    assert found.best.loss <= 0.1
    assert sum(each.is_probe for each in found.history) == 4
    assert found.rules is not None
    model.load_state_dict(client.prune(model.state_dict(), found.rules).state_dict)
    assert fidelity(model) == pytest.approx(found.best.score)


def test_tensor_in_two_groups_is_refused(client: Client) -> None:
    model = net()
    with pytest.raises(MismatchError, match=r"'first\.weight' is in the groups 'one' and 'two'"):
        find_amounts(
            client,
            model,
            rules.l1_unstructured,
            fidelity,
            groups={"one": "first.*", "two": "re:f.*"},
            max_loss=0.1,
        )
    assert is_unchanged(model)


def test_table_and_plot_show_every_evaluation(client: Client, tmp_path: Path) -> None:
    found = find_amounts(client, net(), rules.l1_unstructured, fidelity, groups=GROUPS, max_loss=0.1)
    lines = str(found).splitlines()
    assert lines[0].split() == ["first", "second", "sparsity", "score", "loss"]
    assert len(lines) == len(found.history) + 1
    assert sum("<- best" in line for line in lines) == 1
    assert sum("one group alone" in line for line in lines) == 4
    found.plot(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="there are several groups"):
        found.amount  # noqa: B018 - asked for its error


def test_curve_is_the_loss_over_sparsity(client: Client) -> None:
    found = find_amounts(client, net(), rules.l1_unstructured, fidelity, groups=GROUPS, max_loss=0.1)
    assert [each.sparsity for each in found.curve] == sorted(each.sparsity for each in found.curve)
    assert not any(each.is_probe for each in found.curve)
    rows = found.summary.rows
    assert [row["loss"] for row in rows[: len(found.curve)]] == [each.loss for each in found.curve]
    assert [row[""] for row in rows[len(found.curve) :]] == ["one group alone"] * 4
    assert repr(found).startswith("<FoundAmounts: ")
    assert "&lt;- best" in found._repr_html_()


def test_plot_without_matplotlib_says_what_to_install(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_amount(client, net(), rules.l1_unstructured, fidelity, max_loss=0.1, most_evaluations=1)
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'pruning-service\[plot\]'"):
        found.plot("plot.png")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_loss": -1}, "max_loss: a loss is 0 or more"),
        ({"better": "more"}, "better: this is 'higher' or 'lower'"),
        ({"highest": 1.5}, "highest: an amount is above 0"),
        ({"tolerance": 0}, "tolerance: "),
        ({"most_evaluations": 0}, "most_evaluations: at least one"),
    ],
    ids=["loss", "better", "highest", "tolerance", "evaluations"],
)
def test_what_is_not_valid_is_refused(client: Client, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        find_amount(client, net(), rules.l1_unstructured, fidelity, **({"max_loss": 0.1} | options))


def test_evaluation_that_returns_no_number_is_refused(client: Client) -> None:
    with pytest.raises(TypeError, match="evaluate returns a number"):
        find_amount(client, net(), rules.l1_unstructured, lambda _: None, max_loss=0.1)  # type: ignore[arg-type,return-value]
    with pytest.raises(MismatchError, match="evaluate returned nan for the model as it is"):
        find_amount(client, net(), rules.l1_unstructured, lambda _: math.nan, max_loss=0.1)


def test_async_twins_find_the_same(server: ServerProcess) -> None:
    groups = {"first": "first.*", "second": "second.*"}

    async def both() -> tuple[Any, Any]:
        async with AsyncClient(server.address) as client:
            one = await find_amount_async(client, net(), rules.l1_unstructured, fidelity, max_loss=0.1)
            several = find_amounts_async(
                client, net(), rules.l1_unstructured, fidelity, groups=groups, max_loss=0.1, most_evaluations=3
            )
            return one, await several

    one, several = asyncio.run(both())
    with Client(server.address) as client:
        assert one == find_amount(client, net(), rules.l1_unstructured, fidelity, max_loss=0.1)
        assert several == find_amounts(
            client, net(), rules.l1_unstructured, fidelity, groups=groups, max_loss=0.1, most_evaluations=3
        )


def test_cancelled_search_restores_the_weights(server: ServerProcess) -> None:
    model, before, evaluating, may_end = net(), net().state_dict(), threading.Event(), threading.Event()

    def evaluate(model: nn.Module) -> float:
        if not torch.equal(model.state_dict()["first.weight"], before["first.weight"]):
            evaluating.set()
            assert may_end.wait(30)
        return 1.0

    async def cancelled() -> None:
        async with AsyncClient(server.address) as client:
            search = find_amount_async(client, model, rules.l1_unstructured, evaluate, max_loss=0.1)
            task = asyncio.ensure_future(search)
            assert await asyncio.to_thread(evaluating.wait, 30)
            task.cancel()
            await asyncio.sleep(0)
            may_end.set()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(cancelled())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
