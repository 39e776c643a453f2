"""Layers with known inputs, the engine run on them, and the same computed independently in fp64."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.execution.prune import prune_buffers
from pruning_engine.planning.options import PlanOptions
from pruning_engine.planning.planner import make_plan
from pruning_engine.recipe import OutputForm, Recipe, Rule
from pruning_engine.report import Report
from pruning_engine.torch_tensors import name_of, to_buffer, to_tensor

Floats = npt.NDArray[np.float64]
Tensors = dict[str, torch.Tensor]

_NO_OPTIONS = PlanOptions()


@dataclass(frozen=True)
class Pruned:
    """The tensors of a result, and its report."""

    tensors: Mapping[str, torch.Tensor]
    report: Report


def prune(
    tensors: Mapping[str, torch.Tensor],
    *rules: Rule,
    output: OutputForm = OutputForm.PRUNED,
    in_place: bool = False,
    options: PlanOptions = _NO_OPTIONS,
) -> Pruned:
    specs = [TensorSpec(name, name_of(tensor.dtype), tuple(tensor.shape)) for name, tensor in tensors.items()]
    plan = make_plan(Recipe(rules, 1), specs, output=output, options=options)
    found = prune_buffers(plan, {name: to_buffer(tensor) for name, tensor in tensors.items()}, in_place=in_place)
    results = {result.spec.name: to_tensor(result.buffer) for results in found.results.values() for result in results}
    return Pruned(results, found.report)


def inputs(columns: int, tokens: int | None = None, seed: int = 0) -> torch.Tensor:
    """Return correlated inputs, one row per token."""
    torch.manual_seed(seed)
    mixed = torch.randn(columns, columns, dtype=torch.float64) / columns**0.5 + torch.eye(columns)
    rows: torch.Tensor = torch.randn(tokens or 8 * columns, columns, dtype=torch.float64) @ mixed
    return rows


def gram(rows: torch.Tensor) -> torch.Tensor:
    matrix: torch.Tensor = rows.T @ rows
    return matrix


def error(weight: torch.Tensor, pruned: torch.Tensor, rows: torch.Tensor) -> float:
    """Return the relative error of the outputs for these very inputs."""
    lost = rows @ (weight.double() - pruned.double()).T
    return float(lost.norm() / (rows @ weight.double().T).norm())


def least_squares(weight: torch.Tensor, keep: torch.Tensor, matrix: torch.Tensor, damping: float) -> torch.Tensor:
    """Return (H_SS + lambda I)^-1 (H w)_S for each row w, of support S, solved directly."""
    result = torch.zeros_like(weight, dtype=torch.float64)
    penalty = damping * matrix.diagonal().mean()
    for row, support in enumerate(keep):
        kept = matrix[support][:, support] + penalty * torch.eye(int(support.sum()), dtype=torch.float64)
        result[row, support] = torch.linalg.solve(kept, (matrix @ weight[row].double())[support])
    return result


def eliminated(weight: torch.Tensor, keep: torch.Tensor, matrix: torch.Tensor, damping: float) -> torch.Tensor:
    """Return what SparseGPT leaves for a known mask: one column after the other, H^-1 as in the paper."""
    dead = matrix.diagonal() == 0
    damped = (
        matrix
        + torch.diag(dead.double())
        + damping * matrix.diagonal().mean() * torch.eye(len(matrix), dtype=torch.float64)
    )
    upper = torch.linalg.cholesky(torch.linalg.inv(damped), upper=True)
    left = weight.double().clone()
    left[:, dead] = 0
    for column in range(weight.shape[1]):
        lost = torch.where(keep[:, column], 0.0, left[:, column] / upper[column, column])
        left[:, column:] -= lost[:, None] * upper[column, column:]
    return torch.where(keep, left, 0.0)
