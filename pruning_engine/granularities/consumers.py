"""Which tensors of a group consume its channels: those whose input channels they are.

The statistics that rank units, and the update that makes up for them, are those of these tensors: `down_proj` of an
MLP, `o_proj` of attention heads, the next convolution. Their ties are along the input dim.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final, TypeAlias

from pruning_engine.checkpoints.parameters import NO_AUXILIARY, AuxiliaryOf, Parameters
from pruning_engine.checkpoints.statistics import UsesStatistics
from pruning_engine.errors import MismatchError, Reason
from pruning_engine.granularities.resolved_groups import ResolvedGroup, ResolvedSlice
from pruning_engine.scores.parameters import ArrivedParameter
from pruning_engine.scores.unit_inputs import UnitInputs

Parts: TypeAlias = Mapping[str, UsesStatistics]
"""The parts of a rule that use statistics, by their paths."""

_LEAST_DIMS: Final = 2
_OTHER: Final = -1


def with_consumers(
    group: ResolvedGroup, parts: Parts, input_dims: Mapping[str, int], parameters: Parameters
) -> ResolvedGroup:
    """Return a group whose ties say which ones consume the units.

    `parts`: those of the rule that use statistics. `input_dims`: of parameters whose input dim is known.
    Raises: MismatchError for a group without consumers, and for one whose consumers lack statistics.
    """
    dims = [(tie, _input_dim(tie, input_dims)) for tie in group.ties]
    found = {tie.dim for tie, dim in dims if dim == tie.dim}
    ties = [tie for tie, dim in dims if tie.dim in found and dim in (tie.dim, None)]  # unknown ones as the known ones
    if not ties:
        _refuse_without(group, parts)
    for tie in ties:
        for place, part in parts.items():
            part.check_statistics(tie.parameter, _statistics(tie, parameters), place)
    consuming = {tie.place for tie in ties}
    marked = (replace(tie, is_consumer=tie.place in consuming) for tie in group.ties)
    return replace(group, ties=tuple(marked))


def consuming_ties(groups: Iterable[ResolvedGroup]) -> Iterator[ResolvedSlice]:
    """Return the ties that consume the units of some groups."""
    return (tie for group in groups for tie in group.ties if tie.is_consumer)


def inputs_of(group: ResolvedGroup, arrived: Mapping[str, ArrivedParameter]) -> list[UnitInputs]:
    """Return the units of a group in each matrix that consumes them."""
    return [each for tie in consuming_ties([group]) for each in _of_tie(tie, arrived[tie.parameter])]


def _of_tie(tie: ResolvedSlice, parameter: ArrivedParameter) -> Iterator[UnitInputs]:
    layer = parameter.layer
    each = layer.layout.positions
    columns = (tie.positions()[:, :, None] * each + range(each)).reshape(tie.units, -1)
    for index in range(layer.layout.matrices):
        yield UnitInputs(layer=layer, index=index, columns=columns)


def _input_dim(tie: ResolvedSlice, input_dims: Mapping[str, int]) -> int | None:
    """Return the input dim of a tie's tensor; None if it is not known, _OTHER if it is not the tie's."""
    if len(tie.shape) < _LEAST_DIMS or tie.is_input is False:
        return _OTHER
    return input_dims.get(tie.parameter)


def _statistics(tie: ResolvedSlice, parameters: Parameters) -> AuxiliaryOf:
    return parameters.auxiliary.get(tie.parameter, NO_AUXILIARY)


def _refuse_without(group: ResolvedGroup, parts: Parts) -> None:
    place, part = next(iter(parts.items()))
    kinds = " or ".join((part.statistics or part.optional_statistics)[0])
    raise MismatchError(
        Reason.MISSING_COMPANION,
        f"{place}: no tensor of group {group.name!r} that consumes its channels has statistics: send {kinds} "
        f"beside the tensor whose input channels these are, such as the last projection of the block; its ties are of "
        f"{', '.join(repr(tie.parameter) for tie in group.ties if len(tie.shape) >= _LEAST_DIMS)}",
        field=place,
        tensor=group.ties[-1].parameter,
    )
