"""State dicts of torch tensors: read their specs, plan, prune, assemble the result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import torch

from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.checkpoints.shared_tensors import SharedTensors, find_shared_tensors
from pruning_engine.errors import MismatchError, Reason
from pruning_engine.execution.parameters import ResultTensor
from pruning_engine.execution.prune import prune_buffers
from pruning_engine.modules.seeds import draw_seed
from pruning_engine.planning.options import PlanOptions
from pruning_engine.planning.plan import Plan, PlannedParameter
from pruning_engine.planning.planner import make_plan
from pruning_engine.planning.surgery.surgery import Runs
from pruning_engine.recipe import OutputForm, Recipe
from pruning_engine.report import Report
from pruning_engine.torch_tensors import AnyBuffer, name_of, to_buffer, to_tensor
from pruning_proto.names import ORIG

Value = TypeVar("Value")

Tensors = dict[str, torch.Tensor]

_NO_OPTIONS: Final = PlanOptions()


@dataclass(frozen=True, slots=True)
class PruneResult:
    """A pruned state dict, in the output format that was asked for, and what was done."""

    state_dict: dict[str, object]
    report: Report


def prune_state_dict(
    state_dict: Mapping[str, Value],
    recipe: Recipe,
    *,
    device: torch.device | str | None = None,
    output: OutputForm | str = OutputForm.PRUNED,
    options: PlanOptions = _NO_OPTIONS,
) -> PruneResult:
    """Prune a state dict; the input stays as it is.

    Tensors that no rule selects are passed on as the same objects, and so are values that are not tensors (a module's
    `_extra_state`). Tied tensors are pruned once and tied again. `device` is where the selection runs; None: where
    the tensors are. Random rules without a seed get 64 bits from torch's default generator. `options` say what is known
    of the model and its statistics: `model_type`, `input_dims` and `auxiliary_aliases`.

    Raises: RecipeError, MismatchError, CheckpointError; see errors.py.
    Example: prune_state_dict(model.state_dict(), Recipe((Rule(score=Magnitude(), amount=Fraction(0.5)),)))
    """
    return _prune(state_dict, recipe, device, OutputForm(output), options, in_place=False)


def prune_state_dict_(
    state_dict: Mapping[str, Value],
    recipe: Recipe,
    *,
    device: torch.device | str | None = None,
    output: OutputForm | str = OutputForm.PRUNED,
    options: PlanOptions = _NO_OPTIONS,
) -> PruneResult:
    """Prune a state dict's own tensors where the output format is PRUNED: no memory for a second model.

    Everything else is as for `prune_state_dict`. After an error, tensors that had left their last rule stay pruned.
    """
    chosen = OutputForm(output)
    return _prune(state_dict, recipe, device, chosen, options, in_place=chosen is not OutputForm.REMOVED)


def spec_of(name: str, tensor: torch.Tensor) -> TensorSpec:
    """Return the spec of a tensor."""
    return TensorSpec(name, name_of(tensor.dtype), tuple(tensor.shape))


def _prune(  # noqa: PLR0913 - what both verbs are asked
    state_dict: Mapping[str, Value],
    recipe: Recipe,
    device: torch.device | str | None,
    output: OutputForm,
    options: PlanOptions,
    *,
    in_place: bool,
) -> PruneResult:
    tensors: Tensors = {name: value for name, value in state_dict.items() if isinstance(value, torch.Tensor)}
    shared = find_shared_tensors(tensors)
    specs = [spec_of(name, tensor) for name, tensor in tensors.items() if name not in shared.dropped]
    plan = make_plan(_seeded(recipe), specs, output=output, aliases=shared.aliases, options=options)
    for name, runs in plan.surgery.removed_rows.items():
        tensors[name] = _without_rows(tensors[name], runs)
    buffers = _buffers(plan, tensors)
    pruned = prune_buffers(
        plan, buffers, device=str(device if device is not None else _device_of(tensors)), in_place=in_place
    )
    results = {planned.weight: _results(planned, pruned.results, tensors, buffers) for planned in plan.parameters}
    planned_by_weight = {planned.weight: planned for planned in plan.parameters}
    return PruneResult(_assemble(state_dict, results, planned_by_weight, shared, output), pruned.report)


def _without_rows(tensor: torch.Tensor, runs: Runs) -> torch.Tensor:
    """Return a tensor without runs of positions of its first dim."""
    kept = torch.ones(tensor.shape[0], dtype=torch.bool, device=tensor.device)
    for begin, end in runs.tolist():
        kept[begin:end] = False
    return tensor[kept]


def _seeded(recipe: Recipe) -> Recipe:
    """Return the recipe with a seed; torch's generator is used only for a recipe that is random."""
    if recipe.seed is not None:
        return recipe
    return replace(recipe, seed=draw_seed() if recipe.is_random else 0)


def _device_of(tensors: Mapping[str, torch.Tensor]) -> torch.device:
    return next((tensor.device for tensor in tensors.values() if tensor.is_cuda), torch.device("cpu"))


def _buffers(plan: Plan, tensors: Mapping[str, torch.Tensor]) -> dict[str, AnyBuffer]:
    """Return the tensors that rules act on. Others pass through: they may be of any layout and dtype.

    Raises: MismatchError for one that is not dense.
    """
    buffers = {}
    for planned in plan.parameters:
        for name in () if planned.passes_through else planned.sources:
            if name in buffers:  # an auxiliary tensor that several parameters share
                continue
            _check_dense(name, tensors[name], planned)
            buffers[name] = to_buffer(tensors[name])
    return buffers


def _check_dense(name: str, tensor: torch.Tensor, planned: PlannedParameter) -> None:
    if tensor.layout is torch.strided and not tensor.is_meta:
        return
    kind = "has no data: it is on the meta device" if tensor.is_meta else f"has the layout {tensor.layout}"
    field = f"rules[{planned.rules[0]}].select" if planned.rules else None
    raise MismatchError(
        Reason.UNPRUNABLE_DTYPE,
        f"{f'{field} selects' if field else 'the result needs'} tensor {name!r}, which {kind}; only dense tensors with "
        "data can be pruned: exclude it, or give a dense one (`to_dense()`)",
        field=field,
        tensor=name,
    )


def _results(
    planned: PlannedParameter,
    pruned: Mapping[str, Sequence[ResultTensor]],
    tensors: Mapping[str, torch.Tensor],
    buffers: Mapping[str, AnyBuffer],
) -> Tensors:
    """Return the tensors that a parameter leaves as, on the device that its weight came from."""
    if planned.passes_through:
        return {spec.name: tensors[name] for spec, name in zip(planned.results, planned.carried, strict=False)}
    weight, own = tensors[planned.weight], buffers[planned.weight]
    found = {}
    for result in pruned[planned.weight]:
        name = result.spec.name
        if result.buffer is own and not weight.is_neg():
            found[name] = _own(weight)
        elif planned.scale is not None and result.buffer is buffers[planned.scale.name]:
            found[name] = tensors[name]
        else:
            found[name] = to_tensor(result.buffer).to(weight.device)
    return found


def _own(weight: torch.Tensor) -> torch.Tensor:
    """Return a weight whose memory holds its result: the same object, unless it has a gradient to be left behind."""
    return weight.detach() if weight.requires_grad else weight


def _assemble(
    state_dict: Mapping[str, Value],
    results: Mapping[str, Tensors],
    planned: Mapping[str, PlannedParameter],
    shared: SharedTensors,
    output: OutputForm,
) -> dict[str, object]:
    """Return the results in the order of the input, with tied tensors tied again."""
    keeps_all = output in (OutputForm.PRUNED, OutputForm.MASKED, OutputForm.REMOVED)
    result: dict[str, object] = {}
    for name, value in state_dict.items():
        if not isinstance(value, torch.Tensor):
            if keeps_all:
                result[name] = value
        elif name in results:
            result.update(results[name])
        elif name in shared.aliases and keeps_all:
            first = shared.aliases[name]
            result.update(_under_other_name(name, value, planned[first], results[first]))
    return result


def _under_other_name(name: str, value: torch.Tensor, planned: PlannedParameter, results: Tensors) -> Tensors:
    """Return the results of a tied tensor under another of its names."""
    logical = name if planned.weight == planned.name else name.removesuffix(ORIG)
    own = {
        result: tensor for result, tensor in results.items() if planned.scale is None or result != planned.scale.name
    }
    if planned.passes_through and len(own) == 1:
        return {name: value}
    return {logical + result.removeprefix(planned.name): tensor for result, tensor in own.items()}
