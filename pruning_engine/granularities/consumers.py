"""Which tensors of a group consume its channels, and which compute them.

The channels are input channels of those that consume them: `down_proj` of an MLP, `o_proj` of attention heads, the next
convolution. The statistics that rank units, and the update that makes up for them, are of these. They are output
channels of those that compute them: `gate_proj` and `up_proj`.
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
from pruning_engine.scores.units.unit_rows import UnitRows

Parts: TypeAlias = Mapping[str, UsesStatistics]
"""The parts of a rule that use statistics, by their paths."""

_LEAST_DIMS: Final = 2
_GATE_AND_UP: Final = 2
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


def check_gated(group: ResolvedGroup, field: str) -> None:
    """Refuse a group that is not one of an MLP with a gate. `field`: of the score. Raises: MismatchError."""
    found = _computing_ties(group)
    if sum(tie.unit_positions for tie in found) != _GATE_AND_UP:
        names = ", ".join(f"{tie.parameter!r} along dim {tie.dim}" for tie in found) or "none"
        raise MismatchError(
            Reason.TIE_MISFIT,
            f"{field}: each unit of group {group.name!r} has to be one row of a gate projection and one of an up "
            f"projection; the tensors that compute its units are {names}; use another score, such as activation_norm",
            field=field,
            tensor=group.ties[0].parameter,
        )


def rows_of(group: ResolvedGroup, arrived: Mapping[str, ArrivedParameter]) -> list[UnitRows]:
    """Return the units of a group in the tensors that compute them."""
    return [
        UnitRows(parameter=arrived[tie.parameter], dim=tie.dim, positions=tie.positions())
        for tie in _computing_ties(group)
    ]


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


def _computing_ties(group: ResolvedGroup) -> list[ResolvedSlice]:
    """Return the ties of weights that are not along inputs: those of a map are known, others have the dim of the first
    tie."""
    weights = [tie for tie in group.ties if len(tie.shape) >= _LEAST_DIMS and tie.scored]
    return [tie for tie in weights if (tie.dim == weights[0].dim if tie.is_input is None else not tie.is_input)]
