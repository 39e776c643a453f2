"""Rules whose channels along dim 0 are not a layer's outputs: weights stored as (in, out), and stacked experts.

`Conv1D` of transformers' GPT-2 and torch's ConvTranspose layers store (in, out). No name says so for certain, but the
bias does: it has as many entries as the layer has outputs.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from pruning_engine.granularities.channels import Channels
from pruning_engine.planning.plan import PlannedParameter
from pruning_engine.recipe import Recipe
from pruning_engine.report import ModelWarning, WarningKind

_Shape: TypeAlias = tuple[int, ...]
_EXPERTS: Final = "experts"
_STACKED_DIMS: Final = 3


def input_channel_warnings(recipe: Recipe, parameters: Sequence[PlannedParameter]) -> Iterator[ModelWarning]:
    """Return one warning for each rule and each way of storing whose dim 0 is not that of the outputs."""
    structured = {
        position: rule.granularity.dim
        for position, rule in enumerate(recipe.rules)
        if isinstance(rule.granularity, Channels)
    }
    if not structured:
        return
    shapes = {parameter.name: parameter.spec.shape for parameter in parameters}
    transposed = _transposed_modules(shapes)
    for position, dim in structured.items():
        selected = [each for each in parameters if position in each.rules and dim in {0, -len(each.spec.shape)}]
        yield from _warning(
            position,
            selected,
            lambda each: _is_transposed(each.name, each.spec.shape, shapes, transposed),
            "stored as (in, out), as its bias shows: dim 0 is its input, and its outputs are along dim 1",
            "to prune outputs set dim to 1 (--dim 1), in a rule of its own if others are stored as (out, in)",
        )
        yield from _warning(
            position,
            selected,
            lambda each: _is_stacked(each.name, each.spec.shape),
            "of several experts: dim 0 counts experts, so that whole experts are pruned",
            "set dim to 1 or 2 (--dim), whichever is that of the outputs, if that is not intended",
        )


def _warning(
    position: int,
    selected: Iterable[PlannedParameter],
    is_meant: Callable[[PlannedParameter], bool],
    what: str,
    remedy: str,
) -> Iterator[ModelWarning]:
    found = [each for each in selected if is_meant(each)]
    if found:
        first = found[0]
        others = f", and so {'is' if len(found) == 2 else 'are'} {len(found) - 1:,} more" if len(found) > 1 else ""
        yield ModelWarning(
            kind=WarningKind.INPUT_CHANNELS,
            tensor=first.name,
            message=f"rules[{position}].granularity.channels.dim: tensor {first.name!r} of shape "
            f"{list(first.spec.shape)} is {what}{others}; {remedy}",
        )


def _transposed_modules(shapes: Mapping[str, _Shape]) -> frozenset[str]:
    """Return the last segments of modules some of which are stored as (in, out), and none as (out, in)."""
    ways: dict[str, set[bool]] = {}
    for name, shape in shapes.items():
        way = _has_outputs_last(name, shape, shapes)
        if way is not None:
            ways.setdefault(_module(name), set()).add(way)
    return frozenset(module for module, found in ways.items() if found == {True})


def _has_outputs_last(name: str, shape: _Shape, shapes: Mapping[str, _Shape]) -> bool | None:
    """Return whether a weight's outputs are along dim 1, not dim 0; None if its bias does not say."""
    bias = shapes.get(f"{name.removesuffix('.weight')}.bias") if name.endswith(".weight") else None
    if bias is None or len(bias) != 1 or len(shape) < 2 or shape[0] == shape[1] or bias[0] not in shape[:2]:
        return None
    return bias[0] == shape[1]


def _is_transposed(name: str, shape: _Shape, shapes: Mapping[str, _Shape], modules: frozenset[str]) -> bool:
    """Whether a weight is stored as (in, out): by its bias, or if it is square by other modules of its name."""
    way = _has_outputs_last(name, shape, shapes)
    is_square = len(shape) > 1 and shape[0] == shape[1]
    return way if way is not None else is_square and name.endswith(".weight") and _module(name) in modules


def _is_stacked(name: str, shape: _Shape) -> bool:
    segments = name.split(".")
    return len(shape) == _STACKED_DIMS and _EXPERTS in segments[-2:-1]


def _module(name: str) -> str:
    return name.removesuffix(".weight").rpartition(".")[2]
