"""Swaps: a pruned entry of a row is restored and another pruned instead, while that lowers the row's loss.

Source: SparseSwaps, 2025, arXiv:2512.10922. With r = w · (1 - keep) and c = H r, pruning p and restoring u changes the
loss rᵀHr by 2 w_p c_p + w_p² H_pp - 2 w_u c_u + w_u² H_uu - 2 w_p w_u H_pu.

No weight changes, so the mask has to be the same bytes everywhere: what BLAS sums are integers, which fp64 adds exactly
in any order, and all else is one operation after another.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pruning_engine.kernels.compiled.statistics_kernels import Swaps, calibrated_kernels
from pruning_engine.methods.arrays import Array, arrays_of, block_entries, row_blocks
from pruning_engine.methods.gram import Gram
from pruning_engine.methods.matmul import matmul

Floats = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

LEAST_GAIN: Final = 1e-5
"""Gains smaller than this part of the terms they are the difference of may be rounding errors."""

STRIP: Final = 512
"""Columns of H that are held in fp64 at a time."""

MOST_COMPILED: Final = 256
"""Candidates up to which the compiled kernels have room."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How far the search goes: see `swap`."""

    steps: int
    candidates: int
    group: int | None


def swap(  # noqa: PLR0913 - by keyword, with the paper's defaults
    weight: Array,
    keep: Array,
    gram: Gram,
    *,
    steps: int = 50,
    candidates: int = 48,
    group: int | None = None,
    frozen: Array | None = None,
) -> Array:
    """Return a mask with the same count in each row, and a loss that is no larger.

    `steps`: swaps of a row, at most.
    `candidates`: how many of the entries that are cheapest to prune, and best to restore, are tried with each other.
    `group`: only swap within groups of this many consecutive columns, for N:M; all pairs are tried then.
    `frozen`: (R, C), pruned entries that are never restored.
    Among equal changes, the pair whose pruned entry, then whose restored entry, comes first is taken.
    """
    if not isinstance(weight, np.ndarray):
        return _on_host(weight, keep, gram, steps=steps, candidates=candidates, group=group, frozen=frozen)
    result = np.array(keep, order="C")
    limits = Limits(steps, max(1, candidates), group)
    matrix = np.ascontiguousarray(gram.matrix_like(weight))
    tiles = None if group is None else _tiles(matrix, group)
    entries = block_entries(weight.shape[1])
    for rows in row_blocks(weight.shape[0], weight.shape[1], entries):
        kept, part = result[rows], np.ascontiguousarray(weight[rows])
        allowed = ~kept if frozen is None else ~kept & ~frozen[rows]
        _swap_rows(_Rows(part, kept, allowed, images(np.where(kept, 0, part), matrix)), matrix, tiles, limits)
    return result


def _on_host(weight: Array, keep: Array, gram: Gram, *, frozen: Array | None, **limits: Any) -> Array:
    """Return `swap` of tensors of torch: on the CPU, which gives the same bytes."""
    ops = arrays_of(weight)
    frozen = None if frozen is None else ops.host(frozen)
    on_host = Gram.of_matrix(ops.host(gram.matrix))
    return ops.like(swap(ops.host(weight), ops.host(keep), on_host, frozen=frozen, **limits), keep)


def images(pruned: Floats, matrix: Floats) -> Floats:
    """Return r H for rows r, the same bits whatever BLAS does, with errors of about 2⁻²⁰ of the largest terms.

    Both factors are scaled by sqrt(diag H) and rounded to integers so small that fp64 sums of products are exact.
    """
    matrix, columns = np.ascontiguousarray(matrix), matrix.shape[0]
    limit = 2.0 ** ((53 - math.ceil(math.log2(max(2, columns)))) // 2)
    roots = np.sqrt(matrix.diagonal().astype(np.float64))
    inverse = np.divide(1.0, roots, out=np.zeros_like(roots), where=roots > 0)
    left = pruned * roots
    largest = np.abs(left).max(axis=1, keepdims=True, initial=0)
    units = np.where(largest > 0, largest, 1) / limit
    np.rint(np.divide(left, units, out=left), out=left)
    result = np.empty(pruned.shape, pruned.dtype)
    for begin in range(0, columns, STRIP):
        strip = slice(begin, begin + STRIP)
        result[:, strip] = (
            matmul(left, _integers(matrix[:, strip], inverse, inverse[strip] * limit, limit))
            * (units / limit)
            * roots[strip]
        )
    return result


def _integers(matrix: Floats, row_scales: Floats, column_scales: Floats, limit: float) -> Floats:
    """Return matrix · row_scales · column_scales as whole numbers of at most `limit`, in fp64."""
    kernels = calibrated_kernels(matrix)
    if kernels is not None:
        return kernels.integers(matrix, row_scales, column_scales, limit)
    scaled = matrix * row_scales[:, None] * column_scales
    rounded: Floats = np.rint(np.clip(scaled, -limit, limit, out=scaled), out=scaled)
    return rounded


def _tiles(matrix: Floats, group: int) -> Floats:
    """Return the rows and columns of H within each group of columns, (groups, m, m)."""
    within = np.arange(len(matrix) // group * group).reshape(-1, group)
    tiles: Floats = matrix[within[:, :, None], within[:, None, :]]
    return tiles


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows on the way, or one; all but the weights change in place. `image` is H r, where r is what is pruned."""

    weight: Floats
    keep: Mask
    allowed: Mask
    image: Floats

    def swap(self, pruned: int, restored: int, matrix: Floats) -> None:
        """Prune one entry of a single row and restore another."""
        self.keep[pruned], self.keep[restored] = False, True
        self.allowed[pruned], self.allowed[restored] = True, False
        self.image[:] += self.weight[pruned] * matrix[pruned] - self.weight[restored] * matrix[restored]


def _swap_rows(rows: _Rows, matrix: Floats, tiles: Floats | None, limits: Limits) -> None:
    kernels = calibrated_kernels(rows.weight, matrix)
    if kernels is None or limits.candidates > MOST_COMPILED:
        for row in zip(rows.weight, rows.keep, rows.allowed, rows.image, strict=True):
            _swap_row(_Rows(*row), matrix, tiles, limits)
        return
    diagonal = matrix.diagonal().copy()
    search = Swaps(
        *(matrix, diagonal, np.sqrt(diagonal), tiles),
        limits.steps,
        limits.candidates,
        limits.group or 0,
    )
    kernels.swap(search, rows.weight, rows.keep, rows.allowed, rows.image)


def _swap_row(row: _Rows, matrix: Floats, tiles: Floats | None, limits: Limits) -> None:
    squares = row.weight * row.weight * matrix.diagonal()
    for _ in range(limits.steps):
        terms = 2 * row.weight * row.image
        cost, gain = squares + terms, squares - terms
        if tiles is None:
            pair = _best_pair(row, cost, gain, matrix, limits.candidates)
        else:
            pair = _best_pair_in_groups(row, cost, gain, tiles)
        if pair is None:
            return
        row.swap(*pair, matrix)


def _best_pair(row: _Rows, cost: Floats, gain: Floats, matrix: Floats, count: int) -> tuple[int, int] | None:
    to_prune, to_restore = _least(cost, row.keep, count), _least(gain, row.allowed, count)
    if not len(to_prune) or not len(to_restore):
        return None
    cross = np.multiply.outer(2 * row.weight[to_prune], row.weight[to_restore]) * matrix[np.ix_(to_prune, to_restore)]
    change = _change(cost[to_prune, None], gain[to_restore], cross)
    place = int(change.argmin())
    if not change.flat[place] < 0:
        return None
    return int(to_prune[place // len(to_restore)]), int(to_restore[place % len(to_restore)])


def _best_pair_in_groups(row: _Rows, cost: Floats, gain: Floats, tiles: Floats) -> tuple[int, int] | None:
    groups, group = tiles.shape[:2]
    weight, keep, allowed, cost, gain = (
        array[: groups * group].reshape(groups, group) for array in (row.weight, row.keep, row.allowed, cost, gain)
    )
    change = _change(cost[:, :, None], gain[:, None], 2 * weight[:, :, None] * weight[:, None] * tiles)
    change[~(keep[:, :, None] & allowed[:, None])] = 0
    place = int(change.argmin()) if change.size else 0
    if not change.size or not change.flat[place] < 0:
        return None
    pruned, restored = divmod(place, group)
    return pruned, pruned - pruned % group + restored


def _change(cost: Floats, gain: Floats, cross: Floats) -> Floats:
    """Return how much each pair changes the loss; 0 where that may be a rounding error."""
    change = (cost + gain) - cross
    size = (np.abs(cost) + np.abs(gain)) + np.abs(cross)
    result: Floats = np.where(change < -cost.dtype.type(LEAST_GAIN) * size, change, 0)
    return result


def _least(costs: Floats, among: Mask, count: int) -> npt.NDArray[np.intp]:
    """Return the places of the `count` least costs, in ascending order; of equal ones the first."""
    places = np.nonzero(among)[0]
    if len(places) > count:
        places = np.sort(places[np.argsort(costs[places], kind="stable")[:count]])
    return places
