"""Importance of units: power sums over the positions that a unit owns in all its scored ties, as norms.py has them.

Sums of positions are those of channels along the tie's dim; they are put together in fp64, and close calls are summed
again exactly.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import Final, TypeAlias

import numpy as np

from pruning_engine.granularities.resolved_groups import NumberedTensors, ResolvedGroup, ResolvedSlice
from pruning_engine.kernels import channel_norms as norms
from pruning_engine.kernels.backend import Backend, BoolArray, Floats, Integers, Values
from pruning_engine.kernels.channel_layout import ChannelLayout, channel_layout
from pruning_engine.kernels.packed_mask import PackedMask
from pruning_engine.norm import Norm, is_reproducible, power_of
from pruning_engine.selection.channels import exact_channel_parts

Place: TypeAlias = tuple[str, int]
"""A parameter by its logical name, and a dim."""


WHOLE: Final = -1
"""In the place of a dim: the whole tensor is one position."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What is ranked of one parameter: flat entries, and which of them count."""

    flat: Values
    mask: PackedMask


def whole_layout(entries: int) -> ChannelLayout:
    """Return the layout of a tensor that is one position."""
    return channel_layout((1, entries), 0)


def position_sums(backend: Backend, scored: Scored, layout: ChannelLayout, norm: Norm) -> Floats:
    """Return for each position along a dim what sums, or extremes, are made of: without the root."""
    if not layout.entries:
        return np.full(layout.channels, inf if power_of(norm) == -inf else 0.0)
    found = backend.norms(scored.flat, scored.mask, layout, norm)
    return found if is_reproducible(norm) else _without_root(found, power_of(norm))


def unit_sums(group: ResolvedGroup, sums: Mapping[Place, Floats], norm: Norm) -> Floats:
    """Put the sums of positions together for each unit of a group."""
    power = power_of(norm)
    combine = {inf: np.maximum, -inf: np.minimum}.get(power, np.add)
    total = np.full(group.units, inf if power == -inf else 0.0)
    for tie in group.ties:
        if tie.scored:
            combine(total, combine.reduce(sums[tie.parameter, tie.dim][tie.positions()], axis=1), out=total)
    for each in group.numbered:
        for unit, name in _scored_tensors(each):
            total[unit] = combine(total[unit], sums[name, WHOLE][0])
    return total


def ranks_of(sums: Floats, entries: int, norm: Norm) -> Floats:
    """Turn sums into what ranks units; with `entries`, those of one unit, into that of one entry on average.

    `entries` of 1 leaves the sum as it is.
    """
    power = power_of(norm)
    means = sums if abs(power) == inf or entries == 1 else sums / entries
    return norms.finish(means, norm)


def exact_unit_sums(
    backend: Backend, group: ResolvedGroup, scored: Mapping[str, Scored], numbers: Integers, norm: Norm
) -> Floats:
    """Return the sums of the units `numbers`, ascending, exact and rounded once."""
    ties = [tie for tie in group.ties if tie.scored and tie.unit_entries]
    are_slices = not any(each.scored for each in group.numbered)
    if (
        len(numbers) > 1
        and are_slices
        and all(_are_alike(backend, tie, scored[tie.parameter], numbers) for tie in ties)
    ):  # constant tensors, whose units are all close, must not be slow
        return np.repeat(exact_unit_sums(backend, group, scored, numbers[:1], norm), len(numbers))
    parts: list[Floats] = []
    for tie in ties:
        one = scored[tie.parameter]
        positions = tie.positions()[numbers]
        layout = channel_layout(tie.shape, tie.dim)
        found = exact_channel_parts(backend, one.flat, one.mask, layout, positions.reshape(-1), norm)
        parts.append(found.reshape(len(numbers), -1))
    for each in group.numbered:
        parts += _exact_parts_of_tensors(backend, each, scored, numbers, norm)
    return norms.rounded_once(parts or [np.zeros((len(numbers), 1))])


def _scored_tensors(numbered: NumberedTensors) -> Iterator[tuple[int, str]]:
    """Return the tensors that count, each with its unit."""
    return ((unit, name) for unit, names in numbered.owned.items() for name in names if name in numbered.scored)


def _exact_parts_of_tensors(
    backend: Backend, numbered: NumberedTensors, scored: Mapping[str, Scored], numbers: Integers, norm: Norm
) -> list[Floats]:
    """Return the exact parts of units' tensors; of each tensor a table that is zero for all other units."""
    rows = {int(number): at for at, number in enumerate(numbers)}
    parts = []
    for unit, name in _scored_tensors(numbered):
        entries = numbered.scored[name]
        if unit in rows and entries:
            layout, one = whole_layout(entries), scored[name]
            found = exact_channel_parts(backend, one.flat, one.mask, layout, np.zeros(1, np.int64), norm)
            table = np.zeros((len(numbers), found.size))
            table[rows[unit]] = found.reshape(-1)
            parts.append(table)
    return parts


def _are_alike(backend: Backend, tie: ResolvedSlice, one: Scored, numbers: Integers) -> bool:
    """Whether the positions of some units all hold the same entries; False where that is not known."""
    positions = np.sort(tie.positions()[numbers].reshape(-1))
    return one.mask.is_full and backend.are_alike(one.flat, channel_layout(tie.shape, tie.dim), positions)


def unpruned_units(group: ResolvedGroup, unpruned: Mapping[Place, BoolArray]) -> BoolArray:
    """Mark the units that have an unpruned entry, in one of the tensors that have flags of their positions."""
    found = np.zeros(group.units, np.bool_)
    for tie in group.ties:
        flags = unpruned.get((tie.parameter, tie.dim))
        if flags is not None:
            found |= flags[tie.positions()].any(axis=1)
    for each in group.numbered:
        for unit, name in _scored_tensors(each):
            found[unit] |= (name, WHOLE) in unpruned and unpruned[name, WHOLE][0]
    return found


def _without_root(values: Floats, power: float) -> Floats:
    with np.errstate(all="ignore"):
        result: Floats = np.power(values, power)
    return result
