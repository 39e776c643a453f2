"""Which input channels of a layer cost least to remove, if the remaining weights are refitted after each.

Source: optimal brain surgeon (Hassibi, Stork 1993) with whole input channels as the parameters: removing the columns p
of W (R, C) costs tr(W_:p [(A⁻¹)_pp]⁻¹ W_:pᵀ) in the damped loss tr((W - W') A (W - W')ᵀ), A = H + λI, and the best
remaining weights are W - W_:p [(A⁻¹)_pp]⁻¹ (A⁻¹)_p:. Kurtic et al. 2023, "ZipLM", arXiv:2302.04089, section 3.1, remove
units of several columns one at a time like this. As there, A⁻¹ is down-dated after each; unlike there, costs are read
from the Gram matrix WᵀW of the updated weights, so that a step does not depend on R, and both are down-dated lazily.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pruning_engine.methods.arrays import Array, row_blocks
from pruning_engine.methods.gram import Gram
from pruning_engine.methods.matmul import matmul

LAZY_CHANNELS: Final = 128
"""Channels that are removed before A⁻¹ and WᵀW are brought up to date as a whole."""

OUTPUT_DAMPING: Final = 0.05
"""Added to the diagonal of G, times its mean, as in `refit_to_loss`."""

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


@dataclass(frozen=True, slots=True, eq=False)
class UnitCosts:
    """What removing units costs, in the damped loss of all consumers.

    Attributes:
        costs: (units,), fp64. Of a greedy order: what each cost when its turn came.
        order: (units,), all units, the one that is removed first in front.
        energy: tr(W A Wᵀ): the cost of removing all inputs.
        dampings: of each consumer, what was used, relative to mean(diag H): at least what was asked for.
    """

    costs: Array
    order: Array
    energy: float
    dampings: tuple[float, ...]


def unit_costs(consumers: Sequence[Consumer], *, damping: float = 0.01) -> UnitCosts:
    """Return what removing each unit alone costs. Among equal costs, the first are removed first.

    Cost: one factorisation and two products (C, C) per consumer.
    Raises: ValueError if a Gram matrix is not finite.
    """
    downdates = [_Downdates(each, damping) for each in consumers]
    costs = sum(each.costs() for each in downdates)
    return _result(costs, np.argsort(costs, kind="stable"), downdates)


def greedy_unit_costs(consumers: Sequence[Consumer], *, damping: float = 0.01, gone: Array | None = None) -> UnitCosts:
    """Return the order in which units are removed, each time the cheapest one that remains.

    `gone`: (units,), bool, units that are removed before all others.
    Cost: about 3 C³ operations per consumer beside the factorisation, nearly all in products of matrices, and two
        matrices (C, C) of memory. C = 11,008 takes about 2 minutes of one core in fp32.
    Raises: ValueError if a Gram matrix is not finite.
    """
    downdates = [_Downdates(each, damping) for each in consumers]
    units = len(consumers[0].units)
    remains, costs, order = np.ones(units, np.bool_), np.zeros(units), np.empty(units, np.int64)
    first = [] if gone is None else np.flatnonzero(gone).tolist()
    for turn in range(units):
        current = sum(each.costs() for each in downdates)
        unit = first[turn] if turn < len(first) else int(np.where(remains, current, np.inf).argmin())
        order[turn], costs[unit], remains[unit] = unit, current[unit], False
        for each in downdates:
            each.remove(unit)
    return _result(costs, order, downdates)


def _result(costs: Array, order: Array, downdates: Sequence["_Downdates"]) -> UnitCosts:
    return UnitCosts(costs, order, sum(each.energy for each in downdates), tuple(each.damping for each in downdates))


class _Downdates:
    """A⁻¹ and WᵀW of one consumer, for the channels of units: P and G here, k rows and columns for each unit.

    With p removed, and T = (P_pp)⁻¹ P_p: and E = G_p: - G_pp T / 2, they become P - P_:p T and G - TᵀE - EᵀT. What was
    removed lately is in `_rows` (of P), `_factors` (T) and `_effects` (E) only; the diagonal blocks are always current.
    """

    def __init__(self, consumer: Consumer, damping: float) -> None:
        self._units, self._each = consumer.units.shape
        channels = consumer.units.reshape(-1)
        weight, gram = consumer.weighted, consumer.gram
        self.damping, self._inverse = _inverse(gram, damping, channels, weight.dtype)
        penalty = self.damping * gram.scale
        self.energy = _energy(weight, gram.matrix_like(weight), penalty)
        scored = weight[:, channels]
        self._products = matmul(scored.T, scored)
        self._numbers = np.arange(self._units)
        self._remains = np.ones(self._units, np.bool_)
        self._inverse_blocks = _diagonal_blocks(self._inverse, self._each)
        self._product_blocks = _diagonal_blocks(self._products, self._each)
        self._begin_lot()

    def costs(self) -> Array:
        """Return what removing each unit costs now, (units,) in fp64; infinite for those that are gone."""
        places = np.flatnonzero(self._remains)
        inverse, products = self._inverse_blocks[places], self._product_blocks[places]
        if self._each == 1:
            found = (products / inverse)[:, 0, 0]
        else:
            found = np.trace(np.linalg.solve(inverse, products), axis1=1, axis2=2)
        costs = np.full(self._units, np.inf)
        costs[self._numbers[places]] = np.maximum(found, 0)
        return costs

    def remove(self, unit: int) -> None:
        """Remove a unit, and refit what remains."""
        place = int(np.searchsorted(self._numbers, unit))
        own, lately = slice(place * self._each, (place + 1) * self._each), slice(0, self._pending)
        rows, factors, effects = self._rows[lately], self._factors[lately], self._effects[lately]
        inverse = self._inverse[own] - rows[:, own].T @ factors
        products = self._products[own] - factors[:, own].T @ effects - effects[:, own].T @ factors
        factor = np.linalg.solve(inverse[:, own], inverse)
        effect = products - 0.5 * (products[:, own] @ factor)
        self._remains[place] = False
        self._update_blocks(inverse, factor, effect)
        new = slice(self._pending, self._pending + self._each)
        self._rows[new], self._factors[new], self._effects[new] = inverse, factor, effect
        self._pending += self._each
        if self._pending >= LAZY_CHANNELS:
            self._catch_up()

    def _begin_lot(self) -> None:
        shape = LAZY_CHANNELS + self._each, len(self._inverse)
        self._rows, self._factors, self._effects = (np.empty(shape, self._inverse.dtype) for _ in range(3))
        self._pending = 0

    def _update_blocks(self, rows: Array, factor: Array, effect: Array) -> None:
        of_rows, of_factor, of_effect = (
            each.reshape(self._each, -1, self._each).transpose(1, 0, 2) for each in (rows, factor, effect)
        )
        self._inverse_blocks -= of_rows.transpose(0, 2, 1) @ of_factor
        change = of_factor.transpose(0, 2, 1) @ of_effect
        self._product_blocks -= change + change.transpose(0, 2, 1)

    def _catch_up(self) -> None:
        """Bring A⁻¹ and WᵀW up to date."""
        lately = slice(0, self._pending)
        rows, factors, effects = self._rows[lately], self._factors[lately], self._effects[lately]
        for part in row_blocks(*self._inverse.shape):
            self._inverse[part] -= matmul(rows[:, part].T, factors)
            self._products[part] -= matmul(factors[:, part].T, effects)
            self._products[part] -= matmul(effects[:, part].T, factors)
        self._pending = 0
        if np.count_nonzero(self._remains) < _STILL_LARGE * len(self._remains):
            self._cut_out()

    def _cut_out(self) -> None:
        """Leave units that are gone out of all further work."""
        channels = np.flatnonzero(np.repeat(self._remains, self._each))
        self._inverse = _taken(self._inverse, channels)
        self._products = _taken(self._products, channels)
        self._inverse_blocks = self._inverse_blocks[self._remains]
        self._product_blocks = self._product_blocks[self._remains]
        self._numbers = self._numbers[self._remains]
        self._remains = np.ones(len(self._numbers), np.bool_)
        self._begin_lot()


def _inverse(gram: Gram, damping: float, channels: Array, dtype: np.dtype[np.floating]) -> tuple[float, Array]:
    """Return the damping that was used, and the rows and columns `channels` of A⁻¹.

    Inputs that were always 0 cost nothing but damping. If all were, nothing is known of any: A counts as I.
    """
    if gram.scale == 0:
        return damping, np.eye(len(channels), dtype=dtype)
    factor = gram.inverse_cholesky(damping, dead_as_one=False)
    upper = factor.upper[:, channels].astype(dtype, copy=False)
    gram.forget_factors()  # C² entries that a refit of channels does not need
    return factor.damping, matmul(upper.T, upper)


def _energy(weight: Array, matrix: Array, penalty: float) -> float:
    total = 0.0
    for rows in row_blocks(*weight.shape):
        block = weight[rows]
        total += float(np.multiply(matmul(block, matrix) + penalty * block, block).sum(dtype=np.float64))
    return total


def _diagonal_blocks(matrix: Array, size: int) -> Array:
    """Return copies of the blocks on the diagonal, (blocks, size, size)."""
    count = len(matrix) // size
    tiles = matrix.reshape(count, size, count, size)
    return tiles[np.arange(count), :, np.arange(count)].copy()


def _taken(matrix: Array, places: Array) -> Array:
    """Return rows and columns of a matrix, in its own memory: `places` ascend."""
    size = len(places)
    for row, place in enumerate(places):
        matrix[row, :size] = matrix[place, places]
    return matrix[:size, :size]
