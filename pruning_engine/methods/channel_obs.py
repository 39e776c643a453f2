"""Which input channels of a layer cost least to remove, if the remaining weights are refitted after each.

Source: optimal brain surgeon (Hassibi, Stork 1993) with whole input channels as the parameters: removing the columns p
of W (R, C) costs tr(W_:p [(A⁻¹)_pp]⁻¹ W_:pᵀ) in the damped loss tr((W - W') A (W - W')ᵀ), A = H + λI, and the best
remaining weights are W - W_:p [(A⁻¹)_pp]⁻¹ (A⁻¹)_p:. Kurtic et al. 2023, "ZipLM", arXiv:2302.04089, section 3.1, remove
units of several columns one at a time like this, and down-date A⁻¹ after each. Here, units are removed in lots, chosen
one at a time among twice as many candidates, the cheapest when the lot begins; costs of the others change when it is
complete. If all units are candidates, this is the order of ZipLM; of more units, it was as good on whole models.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pruning_engine.kernels.backend import BoolArray, Floats, Integers
from pruning_engine.methods.arrays import Array, row_blocks
from pruning_engine.methods.gram import Gram
from pruning_engine.methods.matmul import matmul
from pruning_engine.methods.predicted_error import output_energy

LOT_CHANNELS: Final = 64
"""Channels of a lot; of larger units, one is a lot."""

OUTPUT_DAMPING: Final = 0.05
"""Added to the diagonal of G, times its mean, as in `refit_to_loss`."""

STRIP: Final = 256
"""Rows of U in a product, of which what is left of the diagonal is left out."""

_STILL_LARGE: Final = 0.8
"""Above this part of remaining units, those that are gone are not cut out yet: a copy costs more than it saves."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Consumer:
    """A layer whose inputs are removed.

    Attributes:
        weight: W (R, C), fp32 or fp64, in which everything is computed.
        units: (units, k), the k input channels of each unit. Channels of no unit always remain.
        gram: of its inputs.
        output_gram: G (R, R), of the gradients of the outputs: costs are then in the loss, tr(G D A Dᵀ) for D = W - W',
            as in `refit_to_loss`. None: all outputs count alike.
    """

    weight: Array
    units: Array
    gram: Gram
    output_gram: Gram | None = None

    @property
    def weighted(self) -> Array:
        """G^½ W, for which costs are those of W without G; the best remaining weights of W do not depend on G."""
        if self.output_gram is None or self.output_gram.scale == 0:
            return self.weight
        values, vectors = np.linalg.eigh(self.output_gram.matrix.astype(np.float64) / self.output_gram.scale)
        root = (vectors * np.sqrt(np.maximum(values, 0) + OUTPUT_DAMPING)) @ vectors.T
        return matmul(root.astype(self.weight.dtype), self.weight)

    def energy(self, damping: float) -> float:
        """Return tr(W A Wᵀ): the cost of removing all inputs."""
        weight = self.weighted
        return output_energy(weight, self.gram) + damping * self.gram.scale * output_energy(weight, None)


@dataclass(frozen=True, slots=True, eq=False)
class UnitCosts:
    """What removing units costs, in the damped loss of all consumers.

    Attributes:
        costs: (units,), fp64. Of a greedy order: what each cost when its turn came.
        order: (units,), all units, the one that is removed first in front.
        dampings: of each consumer, what was used, relative to mean(diag H): at least what was asked for.
    """

    costs: Floats
    order: Integers
    dampings: tuple[float, ...]


def unit_costs(consumers: Sequence[Consumer], *, damping: float = 0.01) -> UnitCosts:
    """Return what removing each unit alone costs. Among equal costs, the first are removed first.

    Cost: one factorisation per consumer.
    Raises: ValueError if a Gram matrix is not finite.
    """
    layers = [_Remaining(each, damping) for each in consumers]
    costs = _summed(layers)
    return UnitCosts(costs, np.argsort(costs, kind="stable"), tuple(each.damping for each in layers))


def greedy_unit_costs(
    consumers: Sequence[Consumer], *, damping: float = 0.01, gone: BoolArray | None = None, most: int | None = None
) -> UnitCosts:
    """Return the order in which units are removed, each time the cheapest one that remains.

    `gone`: (units,), bool, units that are removed before all others.
    `most`: how many are removed at most; the others follow in the order of what each costs alone. None: all.
    Cost: per consumer, beside the factorisation, about C³ operations in products of matrices for half of the units, and
        twice as many for all; two matrices (C, C) of memory.
    Raises: ValueError if a Gram matrix is not finite.
    """
    layers = [_Remaining(each, damping) for each in consumers]
    units, each = consumers[0].units.shape
    lot = max(1, LOT_CHANNELS // max(1, each))
    first = np.empty(0, np.int64) if gone is None else np.flatnonzero(gone)
    end = units if most is None else min(units, max(most, len(first)))
    costs, remains, order = np.zeros(units), np.ones(units, np.bool_), np.empty(0, np.int64)
    while len(order) < end:
        forced = first[len(order) : len(order) + lot]
        if len(forced):
            chosen = _removed(layers, forced, len(forced), in_order=True)
        else:
            current = _summed(layers)
            cheapest = np.argsort(np.where(remains, current, np.inf), kind="stable")[: 2 * lot]
            candidates = np.sort(cheapest[remains[cheapest]])
            chosen = _removed(layers, candidates, min(lot, end - len(order)), in_order=False)
        costs[chosen.order] = chosen.costs
        remains[chosen.order] = False
        order = np.concatenate([order, chosen.order])
        for layer in layers:
            layer.remove(chosen.order)
    if end < units:
        costs[remains] = _summed(layers)[remains]
        rest = np.flatnonzero(remains)
        order = np.concatenate([order, rest[np.argsort(costs[rest], kind="stable")]])
    return UnitCosts(costs, order, tuple(layer.damping for layer in layers))


@dataclass(frozen=True, slots=True, eq=False)
class _Lot:
    """Units in the order in which they are removed, and what each costs then."""

    order: Integers
    costs: Floats


def _removed(layers: Sequence["_Remaining"], candidates: Integers, count: int, *, in_order: bool) -> _Lot:
    """Return `count` of some candidates, each time the cheapest of them, or as they come."""
    panels = [layer.panel(candidates) for layer in layers]
    remains, places, costs = np.ones(len(candidates), np.bool_), [], []
    for turn in range(count):
        current = _summed(panels)
        place = turn if in_order else int(np.where(remains, current, np.inf).argmin())
        remains[place] = False
        places.append(place)
        costs.append(current[place])
        for panel in panels:
            panel.remove(place)
    return _Lot(candidates[places], np.array(costs))


def _summed(parts: Sequence["_Remaining | _Panel"]) -> Floats:
    """Return what units cost in all layers together."""
    total: Floats = np.sum([each.costs() for each in parts], axis=0)
    return total


class _Panel:
    """(A⁻¹)_SS and (WᵀW)_SS of the channels S of some units, which are removed one at a time: P and G here.

    With p removed, and T = (P_pp)⁻¹ P_p: and E = G_p: - G_pp T / 2, they become P - P_:p T and G - TᵀE - EᵀT. Of these,
    the blocks on the diagonal are kept up to date, and rows are computed when their turn comes.
    """

    def __init__(self, inverse: Array, products: Array, least: Array, each: int) -> None:
        self._inverse, self._products, self._each = inverse, products, each
        self._inverse_blocks, self._product_blocks = (_diagonal_blocks(matrix, each) for matrix in (inverse, products))
        self._diagonal, self._least = np.einsum("uii->ui", self._inverse_blocks), least.reshape(-1, each)
        self._rows, self._factors, self._effects = (np.empty_like(inverse) for _ in range(3))
        self._removed = 0

    def costs(self) -> Floats:
        """Return what removing each unit costs now; of those that are gone, anything."""
        return _costs(self._inverse_blocks, self._product_blocks)

    def remove(self, place: int) -> None:
        """Remove a unit, and refit what remains."""
        own, before = slice(place * self._each, (place + 1) * self._each), slice(0, self._removed)
        new = slice(self._removed, self._removed + self._each)
        rows, factors, effects = self._rows[before], self._factors[before], self._effects[before]
        inverse = self._inverse[own] - rows[:, own].T @ factors
        products = self._products[own] - factors[:, own].T @ effects - effects[:, own].T @ factors
        block = self._inverse_blocks[place]
        factor = inverse / block if self._each == 1 else np.linalg.solve(block, inverse)
        effect = products - 0.5 * (products[:, own] @ factor)
        self._rows[new], self._factors[new], self._effects[new] = inverse, factor, effect
        self._removed += self._each
        self._update_blocks(inverse, factor, effect)

    def _update_blocks(self, rows: Array, factor: Array, effect: Array) -> None:
        if self._each == 1:
            self._inverse_blocks[:, 0, 0] -= rows[0] * factor[0]
            self._product_blocks[:, 0, 0] -= 2 * factor[0] * effect[0]
        else:
            of_rows, of_factor, of_effect = (_by_unit(each, self._each) for each in (rows, factor, effect))
            self._inverse_blocks -= of_rows.transpose(0, 2, 1) @ of_factor
            change = of_factor.transpose(0, 2, 1) @ of_effect
            self._product_blocks -= change + change.transpose(0, 2, 1)
        np.maximum(self._diagonal, self._least, out=self._diagonal)


class _Remaining:
    """A consumer without the units that were removed, its remaining weights refitted.

    A⁻¹ is not computed: it is UᵀU - ZᵀZ, with a row in Z for each channel that was removed, and W is kept up to date.
    Columns are those of units, k after k, and of units that are gone they are cut out from time to time.
    """

    def __init__(self, consumer: Consumer, damping: float) -> None:
        self._units, self._each = consumer.units.shape
        channels = consumer.units.reshape(-1)
        self.damping, self._upper = _factor(consumer.gram, damping, channels, consumer.weight.dtype)
        self._weight = consumer.weighted.take(channels, axis=1)
        self._removed = np.empty((0, len(channels)), self._weight.dtype)
        self._heights = channels + 1
        self._least = _least_inverses(consumer.gram, self.damping, channels)
        self._numbers = np.arange(self._units)
        self._remains = np.ones(self._units, np.bool_)
        self._inverse_blocks = _blocks_of_products(self._upper, self._each)

    def costs(self) -> Floats:
        """Return what removing each unit costs now; infinite for those that are gone."""
        places = np.flatnonzero(self._remains)
        costs = np.full(self._units, np.inf)
        products = _blocks_of_products(self._weight, self._each)
        costs[self._numbers[places]] = _costs(self._inverse_blocks[places], products[places])
        return costs

    def panel(self, units: Integers) -> _Panel:
        """Return what choosing among some units needs."""
        columns = self._columns(units)
        upper, removed, weight = (part.take(columns, axis=1) for part in (self._upper, self._removed, self._weight))
        heights = self._heights[columns]
        inverse = _products(upper, heights, upper, heights) - removed.T @ removed
        least = self._least[columns]
        diagonal = np.einsum("ii->i", inverse)
        np.maximum(diagonal, least, out=diagonal)
        return _Panel(inverse, weight.T @ weight, least, self._each)

    def remove(self, units: Integers) -> None:
        """Remove units, in this order, and refit what remains."""
        columns = self._columns(units)
        upper = self._upper.take(columns, axis=1)
        rows = _products(upper, self._heights[columns], self._upper, self._heights)
        rows -= matmul(self._removed.take(columns, axis=1).T, self._removed)
        factor = np.linalg.inv(self._cholesky(rows[:, columns], self._least[columns])).astype(rows.dtype)
        rows = matmul(factor, rows)
        weight = self._weight.take(columns, axis=1) @ factor.T
        for part in row_blocks(*self._weight.shape):
            self._weight[part] -= matmul(weight[part], rows)
        self._weight[:, columns] = 0
        self._inverse_blocks -= _blocks_of_products(rows, self._each)
        diagonal = np.einsum("uii->ui", self._inverse_blocks)
        np.maximum(diagonal, self._least.reshape(-1, self._each), out=diagonal)
        self._removed = np.concatenate([self._removed, rows])
        self._remains[self._places(units)] = False
        if np.count_nonzero(self._remains) < _STILL_LARGE * len(self._remains):
            self._cut_out()

    @staticmethod
    def _cholesky(matrix: Array, least: Array) -> Array:
        """Return the lower Cholesky factor, in fp64, of what rounding may have made indefinite."""
        matrix = matrix.astype(np.float64)
        diagonal, added = np.einsum("ii->i", matrix), 0.0
        np.maximum(diagonal, least, out=diagonal)
        while True:
            try:
                return np.linalg.cholesky(matrix)
            except np.linalg.LinAlgError:
                added = 10 * added or 1e-7 * float(diagonal.max())
                diagonal += added

    def _places(self, units: Integers) -> Integers:
        places: Integers = np.searchsorted(self._numbers, units)
        return places

    def _columns(self, units: Integers) -> Integers:
        columns: Integers = (self._places(units)[:, None] * self._each + np.arange(self._each)).reshape(-1)
        return columns

    def _cut_out(self) -> None:
        """Leave units that are gone out of all further work."""
        columns = np.flatnonzero(np.repeat(self._remains, self._each))
        self._upper = self._upper.take(columns, axis=1)
        self._removed = self._removed.take(columns, axis=1)
        self._weight = self._weight.take(columns, axis=1)
        self._least, self._heights = self._least[columns], self._heights[columns]
        self._inverse_blocks = self._inverse_blocks[self._remains]
        self._numbers = self._numbers[self._remains]
        self._remains = np.ones(len(self._numbers), np.bool_)


def _factor(gram: Gram, damping: float, channels: Integers, dtype: np.dtype[np.floating]) -> tuple[float, Array]:
    """Return the damping that was used, and the columns `channels` of U, UᵀU = A⁻¹.

    Inputs that were always 0 cost nothing but damping. If all were, nothing is known of any: A counts as I.
    """
    if gram.scale == 0:
        return damping, np.eye(len(gram.diagonal), dtype=dtype).take(channels, axis=1)
    factor = gram.inverse_cholesky(damping, dead_as_one=False)
    gram.forget_factors()  # C² entries that a refit of channels does not need
    return factor.damping, factor.upper.take(channels, axis=1).astype(dtype, copy=False)


def _products(one: Array, heights: Integers, other: Array, other_heights: Integers) -> Array:
    """Return one.T @ other of columns of U, each of which is 0 from its height on: a third of the work of all."""
    order, tops = np.argsort(heights, kind="stable"), np.maximum.accumulate(other_heights)
    one, heights = one.take(order, axis=1), heights[order]
    found = np.zeros((one.shape[1], other.shape[1]), one.dtype)
    for begin in range(0, len(one), STRIP):
        rows = slice(begin, begin + STRIP)
        left, right = np.searchsorted(heights, begin, side="right"), np.searchsorted(tops, begin, side="right")
        found[left:, right:] += matmul(one[rows, left:].T, other[rows, right:])
    result = np.empty_like(found)
    result[order] = found
    return result


def _least_inverses(gram: Gram, damping: float, channels: Integers) -> Array:
    """Return 1 / A_jj, a lower bound of (A⁻¹)_jj whatever is removed: anything below it is a rounding error."""
    if gram.scale == 0:
        return np.ones(len(channels))
    least: Array = 1 / (gram.diagonal[channels].astype(np.float64) + damping * gram.scale)
    return least


def _costs(inverse: Array, products: Array) -> Floats:
    """Return tr(P_pp⁻¹ G_pp) of each unit, from blocks (units, k, k)."""
    if inverse.shape[-1] == 1:
        found = products[:, 0, 0] / inverse[:, 0, 0]
    else:
        found = np.trace(np.linalg.solve(inverse, products), axis1=1, axis2=2)
    costs: Floats = np.maximum(found, 0).astype(np.float64)
    return costs


def _blocks_of_products(matrix: Array, size: int) -> Floats:
    """Return the blocks on the diagonal of MᵀM, (blocks, size, size), in fp64."""
    if size == 1:
        squares: Floats = np.einsum("rc,rc->c", matrix, matrix).astype(np.float64)
        return squares[:, None, None]
    columns = _by_unit(matrix, size)
    blocks: Floats = (columns.transpose(0, 2, 1) @ columns).astype(np.float64)
    return blocks


def _by_unit(rows: Array, size: int) -> Array:
    """Return rows (k, C) as (units, k, size)."""
    return rows.reshape(len(rows), -1, size).transpose(1, 0, 2)


def _diagonal_blocks(matrix: Array, size: int) -> Array:
    """Return copies of the blocks on the diagonal, (blocks, size, size)."""
    count = len(matrix) // size
    tiles = matrix.reshape(count, size, count, size)
    return tiles[np.arange(count), :, np.arange(count)].copy()
