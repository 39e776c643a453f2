"""Calls with statistics against a real server: models in memory, files and folders, by both clients."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from pruning_client import Client, Statistics, prune_folder, rules
from pruning_client.errors import MismatchError
from pruning_client.torch import collect_statistics, find_amount, prune_sequentially
from tests.client.both import Connect, async_client
from tests.client.torch import tiny_models as models
from tests.client.torch.captured import captured
from tests.servers import ServerProcess

BATCHES = [models.tokens(4, 16), models.tokens(4, 16, seed=2)]
MODELS = [models.llama, models.gpt2, models.mixtral, models.gpt_oss]


@pytest.fixture(scope="module", params=[Client, async_client], ids=["Client", "AsyncClient"])
def client(server: ServerProcess, request: pytest.FixtureRequest) -> Iterator[Client]:
    with cast("Connect", request.param)(server.address) as client:
        yield client


def wanda_mask(weight: Tensor, rows: Tensor, dim: int) -> Tensor:
    """Return Wanda's mask by its reference: each output channel without int(C / 2) of its least products."""
    matrix = weight.float() if dim == 1 else weight.float().T
    scores = matrix.abs() * rows.square().sum(0).sqrt().float()
    mask = torch.ones_like(matrix, dtype=torch.bool)
    mask.scatter_(1, scores.sort(dim=1, stable=True).indices[:, : matrix.shape[1] // 2], False)
    return mask if dim == 1 else mask.T


def reference(model: nn.Module) -> dict[tuple[str, int], Tensor]:
    found = [captured(model, batch) for batch in BATCHES]
    return {key: torch.cat([each[key] for each in found if key in each]) for key in found[0] | found[1]}


def assert_wanda(model: nn.Module, dims: Any, pruned: dict[str, Tensor]) -> None:
    """Compare each pruned weight of a model, and each of its experts, with the reference."""
    checked = 0
    for (name, expert), rows in reference(model).items():
        before, after = model.get_parameter(name).detach(), pruned[name]
        if name not in dims or torch.equal(before, after):  # heads and routers are not pruned
            continue
        stack = before.dim() == 3
        weight, left = (before[expert], after[expert]) if stack else (before, after)
        mask = wanda_mask(weight, rows, dims[name] - stack)
        assert (left.ne(0) == mask).float().mean() > 0.995, (
            name
        )  # products of fp32 and of fp64 may be ordered otherwise
        checked += 1
    assert checked >= 8


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_wanda_in_memory_is_that_of_the_paper(client: Client, make: Callable[[], nn.Module]) -> None:
    model = make()
    statistics = collect_statistics(model, BATCHES)
    result = client.prune(model.state_dict(), rules.wanda(0.5), statistics=statistics)
    assert_wanda(model, statistics.input_dims, result.state_dict)
    used = {tensor.auxiliary for tensor in result.plan.tensors if tensor.rules}
    assert used == {(":in_sum2",)}


@pytest.mark.parametrize("make", [models.llama, models.mixtral, models.granite], ids=lambda make: make.__name__)
def test_folder_is_pruned_as_the_model_in_memory(client: Client, make: Callable[[], nn.Module], tmp_path: Path) -> None:
    model: Any = make()
    model.save_pretrained(tmp_path / "model")
    statistics = collect_statistics(model, BATCHES)
    statistics.save(tmp_path / "statistics")
    state = client.prune(model.state_dict(), rules.wanda(0.5), statistics=statistics).state_dict
    source, target = tmp_path / "model" / "model.safetensors", tmp_path / "pruned.safetensors"
    client.prune_file(source, target, rules.wanda(0.5), statistics=tmp_path / "statistics")
    model.load_state_dict(state)
    model.save_pretrained(tmp_path / "expected")
    expected, found = load_file(tmp_path / "expected" / "model.safetensors"), load_file(target)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_folder_is_pruned_with_statistics(server: ServerProcess, tmp_path: Path) -> None:
    model: Any = models.gpt2()
    model.save_pretrained(tmp_path / "model")
    collect_statistics(model, BATCHES).save(tmp_path / "statistics")
    with Client(server.address) as client:
        report = prune_folder(
            client,
            tmp_path / "model",
            tmp_path / "pruned",
            rules.wanda(0.5),
            output="pruned",
            statistics=tmp_path / "statistics",
        )
    assert report.sparsity == pytest.approx(0.5, abs=0.02)


def test_refit_makes_the_outputs_change_less(client: Client) -> None:
    model = models.llama()
    statistics = collect_statistics(model, BATCHES, kind="gram")
    name = "model.layers.0.mlp.down_proj.weight"
    rows, before = reference(model)[name, 0].float(), model.get_parameter(name).detach()
    errors = {}
    for update in (None, "refit", "sparsegpt"):
        rule = rules.wanda(0.5, update=cast("Any", update), include=name)
        after = client.prune(model.state_dict(), rule, statistics=statistics).state_dict[name]
        assert after.eq(0).float().mean() == pytest.approx(0.5, abs=0.02)
        errors[update] = float((rows @ (before - after).T).norm())
    assert errors["refit"] < 0.9 * errors[None]
    assert errors["sparsegpt"] < errors[None]


def test_sample_of_inputs_serves_as_the_gram_matrix(client: Client) -> None:
    model = models.llama()
    gram, inputs = (collect_statistics(model, BATCHES, kind=cast("Any", kind)) for kind in ("gram", "inputs"))
    rule = rules.wanda(0.5, update="refit", include="*.layers.1.*.weight", exclude="*norm*")
    one, other = (client.prune(model.state_dict(), rule, statistics=each).state_dict for each in (gram, inputs))
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=2e-3, atol=2e-3)


def test_shared_statistics_are_sent_once(client: Client) -> None:
    model, seen = models.llama(), []
    statistics = collect_statistics(model, BATCHES, kind="gram")
    attention = [f"model.layers.0.self_attn.{name}_proj.weight" for name in "qkv"]
    client.prune(
        {name: model.state_dict()[name] for name in attention},
        rules.sparsegpt(0.5),
        statistics=statistics,
        progress=lambda progress: seen.append(progress.total_bytes),
    )
    weights = sum(model.get_parameter(name).numel() * 4 for name in attention)
    assert weights + 16 * 16 * 4 < seen[-1] < weights + 2 * 16 * 16 * 4 + 1500


def test_weight_without_statistics_is_refused_with_the_reason(client: Client) -> None:
    layers = nn.Sequential(nn.Conv2d(4, 4, 1, groups=2), nn.Conv2d(4, 4, 1))
    statistics = collect_statistics(layers, [torch.ones(1, 4, 2, 2)])
    with pytest.raises(MismatchError) as caught:
        client.prune(layers.state_dict(), rules.wanda(0.5), statistics=statistics)
    assert "a Conv2d of 2 groups has other inputs" in "".join(caught.value.__notes__)


def test_statistics_that_no_rule_uses_are_refused(client: Client) -> None:
    layer = nn.Sequential(nn.Linear(4, 3))
    statistics = collect_statistics(layer, [torch.ones(2, 4)])
    for verb in (client.prune, client.plan, client.dry_run):
        with pytest.raises(MismatchError, match="no rule uses the statistics") as caught:
            verb(layer.state_dict(), rules.l1_unstructured(0.5), statistics=statistics)
        assert caught.value.reason == "UNUSED_COMPANION"
    assert client.scan(layer.state_dict(), rules.l1_unstructured(0.5), statistics=statistics).tensors[0].curve


def test_tied_weights_have_no_unmatched_statistics(client: Client) -> None:
    model = models.gpt2()
    statistics = collect_statistics(model, BATCHES)
    report = client.dry_run(model.state_dict(), rules.wanda(0.5), statistics=statistics)
    assert not [each for each in report.warnings if each.kind == "unmatched_statistics"]


def test_plan_and_dry_run_take_statistics(client: Client) -> None:
    model = models.llama()
    statistics = collect_statistics(model, BATCHES, kind="gram")
    plan = client.plan(model.state_dict(), rules.sparsegpt(0.5), statistics=statistics)
    assert all(":in_gram" in tensor.auxiliary for tensor in plan.tensors if tensor.rules)
    assert not any(":in_sum2" in tensor.auxiliary for tensor in plan.tensors)
    assert client.dry_run(model.state_dict(), rules.wanda(0.5), statistics=statistics).sparsity == 0.5


def test_convolution_is_pruned_by_its_patches(client: Client) -> None:
    layer = nn.Sequential(nn.Conv2d(4, 5, 3, padding=1))
    images = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    statistics = collect_statistics(layer, [images], kind="gram")
    after = client.prune(layer.state_dict(), rules.wanda(0.5), statistics=statistics).state_dict["0.weight"]
    patches = nn.functional.unfold(images, 3, padding=1).transpose(1, 2).reshape(-1, 36).double()
    weight = cast("Tensor", layer[0].weight).detach().flatten(1)
    assert torch.equal(after.flatten(1).ne(0), wanda_mask(weight, patches, 1))


def test_statistics_of_two_runs_give_the_mask_of_both(client: Client) -> None:
    model = models.llama()
    parts: list[Statistics] = [collect_statistics(model, [batch]) for batch in BATCHES]
    together = collect_statistics(model, BATCHES)
    one, other = (
        client.prune(model.state_dict(), rules.wanda(0.5), statistics=each).state_dict
        for each in (parts[0].merge(parts[1]), together)
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_procedures_work_with_updates(server: ServerProcess) -> None:
    def wanda(amount: float) -> Any:
        return rules.wanda(amount, update="refit")

    @torch.no_grad()
    def change_of_logits(model: nn.Module) -> float:
        found, expected = (cast("Any", each)(**BATCHES[0]).logits for each in (model, models.llama()))
        return float((found - expected).norm() / expected.norm())

    model = models.llama()
    statistics = collect_statistics(model, BATCHES, kind="gram")
    with Client(server.address) as client:
        found = find_amount(
            client,
            model,
            wanda,
            change_of_logits,
            max_loss=0.3,
            better="lower",
            statistics=statistics,
            most_evaluations=6,
        )
        assert change_of_logits(model) == 0.0
        report = prune_sequentially(client, model, BATCHES, wanda(found.amount))
    assert 0.05 < found.amount < 0.95
    assert report.sparsity == pytest.approx(found.amount, abs=0.05)
    assert 0.0 < change_of_logits(model) < 0.6
