# ruff: noqa: T201 - a script
"""A user's script: typical uses of everything that is public. It is for type checkers, and runs too: see its test."""

import asyncio
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pruning_client import (
    AsyncClient,
    Client,
    Job,
    JobStatus,
    LocalClient,
    Plan,
    Progress,
    PruningSchedule,
    Recipe,
    Report,
    Result,
    Rule,
    Statistics,
    Tls,
    load_masks,
    pack_file,
    prune_folder,
    rules,
    unpack_file,
)
from pruning_client.errors import CapacityError, MismatchError, PruningError
from pruning_client.torch import collect_statistics, find_amount, load_pruned, prune_sequentially


def chosen(amount: float) -> list[Rule]:
    """Build rules."""
    pattern: Rule = rules.n_of_m(2, 4, include=["0.*"])
    return [rules.l1_unstructured(amount, scope="global"), rules.wanda(rules.sparsity(amount)), pattern]


def files(client: Client, folder: Path) -> Report:
    """Plan, prune and pack a file."""
    source, target = folder / "model.safetensors", folder / "pruned.safetensors"
    recipe = Recipe([rules.l1_unstructured(0.5), rules.random_unstructured(1)], seed=3)
    plan: Plan = client.plan(source, recipe)
    names: list[str] = [tensor.name for tensor in plan.tensors if tensor.rules]

    def watch(progress: Progress) -> None:
        assert progress.sent_bytes <= progress.total_bytes

    report = client.prune_file(source, target, recipe, progress=watch, digests=True)
    assert names == [tensor.name for tensor in report.tensors]
    seconds: float = report.seconds["total"]
    assert seconds >= 0.0
    (folder / "report.html").write_text(report.to_html(before=source, after=target, recipe=recipe))
    packed = pack_file(target, folder / "packed")
    assert packed.tensors == unpack_file(folder / "packed", folder / "again.safetensors").tensors
    client.prune_file(source, folder / "masks.safetensors", rules.l1_unstructured(0.5), output="mask")
    (folder / "recipe.yaml").write_text(rules.dump_recipe(recipe))
    assert rules.load_recipe(folder / "recipe.yaml") == recipe
    return report


def arrays(client: Client) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    """Prune numpy arrays."""
    weights = {"fc.weight": np.ones((4, 4), np.float32)}
    result: Result = client.prune(weights, rules.ln_structured(0.5, n=1, dim=0))
    pruned: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = result.to_numpy()
    return pruned


class Blocks(nn.Module):
    """Two blocks in order."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return what the last block returns."""
        for layer in self.layers:
            inputs = layer(inputs)
        return inputs


def modules(client: Client, folder: Path) -> nn.Module:
    """Prune a torch module: with statistics, block by block, in rounds, by search; load smaller tensors."""
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    batches = [torch.randn(8, 4)]
    statistics: Statistics = collect_statistics(model, batches, kind="gram")
    statistics.save(folder / "statistics.safetensors")
    result = client.prune(model.state_dict(), rules.sparsegpt(0.5), statistics=folder / "statistics.safetensors")
    model.load_state_dict(result.state_dict)
    for step in PruningSchedule.cubic(0.9, rounds=2):
        model.load_state_dict(client.prune(model.state_dict(), rules.l1_unstructured(step.amount)).state_dict)
    found = find_amount(client, model, rules.l1_unstructured, lambda _: 1.0, max_loss=0.1, most_evaluations=1)
    assert 0.0 <= found.amount <= 1.0
    blocks = Blocks()
    assert prune_sequentially(client, blocks, batches, rules.sparsegpt(0.5)).sparsity == 0.5
    group = rules.group(["0.weight:0", "0.bias:0", "2.weight:1"])
    smaller = client.prune(model.state_dict(), rules.remove_units(rules.kept(4), groups=group), output="removed")
    load_pruned(model, smaller)
    return model


def folders(client: Client, folder: Path) -> None:
    """Prune a model's folder, and apply masks to a state dict."""
    prune_folder(client, folder / "model", folder / "smaller", rules.l1_unstructured(0.5), output="pruned")
    weights = {name: np.ones((8, 4), np.float32) for name in ("fc1.weight",)}
    try:
        load_masks(folder / "masks.safetensors").apply_to(weights)
    except MismatchError as error:
        print(error.reason, error.metadata, error.retry_after)


def job(client: Client, folder: Path) -> Report | None:
    """Have a server prune by reference."""
    started: Job = client.prune_checkpoint(f"file://{folder}/m", f"file://{folder}/typed", chosen(0.5)[0], name="typed")

    def show(status: JobStatus) -> None:
        assert status.read_bytes >= 0

    try:
        return started.wait(show, timeout=100)
    except CapacityError as error:
        print(error.retry_after)
        return None
    except PruningError as error:
        print(error.reason)
        return None


async def awaited(address: str) -> int:
    """Prune several models at once, from an event loop."""
    weights = {"fc.weight": np.ones((4, 4), np.float32)}
    async with AsyncClient(address, timeout=60, retries=2) as client:
        results = await asyncio.gather(*(client.prune(weights, rules.l1_unstructured(part / 4)) for part in range(4)))
        capabilities = await client.capabilities()
        assert capabilities.limits.rules > 0
        jobs = await client.jobs()
        assert all(each.is_done for each in jobs)
    return sum(result.report.pruned for result in results)


def main(address: str, folder: Path) -> None:
    """Do all of it."""
    assert Tls(ca=b"").certificate is None
    with Client(address, timeout=60) as client:
        report = files(client, folder)
        assert report.model is not None
        assert arrays(client)["fc.weight"].shape == (4, 4)
        modules(client, folder)
        folders(client, folder)
        assert job(client, folder) is not None
    with LocalClient() as local:
        arrays(local)
    assert asyncio.run(awaited(address)) == 24
    print("done")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
