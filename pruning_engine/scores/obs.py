"""Optimal brain surgeon: what pruning costs if the remaining weights make up for it.

Units: see `methods/channel_obs.py`.

Source: of entries, Frantar, Alistarh, "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot", 2023,
arXiv:2301.00774, section 3: w^2 / [H^-1]_jj^2, column by column, where H is what the columns to the left leave.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from pruning_engine.checkpoints.statistics import Alternatives, LayerSize
from pruning_engine.errors import Reason, RecipeError
from pruning_engine.methods.arrays import Array
from pruning_engine.methods.channel_obs import Consumer, greedy_unit_costs, unit_costs
from pruning_engine.methods.choices import Choice
from pruning_engine.methods.gram import Gram
from pruning_engine.methods.memory import eliminate_bytes
from pruning_engine.methods.sparsegpt import Eliminated, eliminate
from pruning_engine.scores.entries.eliminated import outcome_of
from pruning_engine.scores.number_checks import check_damping, check_whole
from pruning_engine.scores.parameters import ArrivedParameter
from pruning_engine.scores.score import Score
from pruning_engine.scores.unit_inputs import UnitInputs, UnitRanks, UnitsToRank
from pruning_engine.selection.outcome import Outcome
from pruning_proto.names import IN_COUNT, IN_GRAM, INPUTS

BLOCK: Final = 128
"""The paper's."""

DAMPING: Final = 0.01
"""The paper's."""

_MOST_COLUMNS: Final = 4_096
_UNITS: Final = "units"


@dataclass(frozen=True, slots=True)
class ObsScore(Score):
    """Entries by w^2 / [H^-1]_jj^2 along an elimination of columns, which decides some columns at a time.

    `block`: columns that are decided together, None: 128. `damping`: added to the diagonal of H, times its mean, None:
    0.01. `greedy`: for units, whether they are pruned one at a time, None: true.
    """

    field: ClassVar[str] = "obs"
    ranks: ClassVar[bool] = True
    eliminates: ClassVar[bool] = True
    ranks_channels: ClassVar[bool] = False
    ranks_values: ClassVar[bool] = False  # what pruning an entry costs depends on those before it
    ranks_units: ClassVar[bool] = True
    statistics: ClassVar[tuple[Alternatives, ...]] = ((IN_GRAM, INPUTS),)
    optional_statistics: ClassVar[tuple[Alternatives, ...]] = ((IN_COUNT,),)

    block: int | None = None
    damping: float | None = None
    greedy: bool | None = None

    @property
    def is_reproducible(self) -> bool:
        """BLAS decides the last bits of a factorisation."""
        return False

    def check(self, path: str) -> None:
        """Refuse values out of range. Raises: RecipeError."""
        check_whole(self.block, _MOST_COLUMNS, f"{path}.block")
        check_damping(self.damping, f"{path}.damping")

    def check_granularity(self, granularity: str, path: str) -> None:
        """Refuse a block for units, which have none, and greedy for entries. Raises: RecipeError."""
        if granularity == _UNITS and self.block is not None:
            self._refuse(f"{path}.block", "units are removed one at a time, or ranked together; leave it out")
        if granularity != _UNITS and self.greedy is not None:
            self._refuse(f"{path}.greedy", "it is for granularity units; leave it out")

    def unit_ranks(self, units: UnitsToRank) -> UnitRanks:
        """Return what removing each unit costs, in the order of removal; as a part of all, if groups compete.

        With the Gram matrix of the gradients of the outputs, which the update refit takes, costs are in the loss.
        Where a unit of a greedy order is cheaper than one before it, it has the rank of that one.
        """
        asked = DAMPING if self.damping is None else self.damping
        consumers = [_consumer(each) for each in units.inputs]
        try:
            if self.greedy is False:
                found = unit_costs(consumers, damping=asked)
            else:
                found = greedy_unit_costs(consumers, damping=asked, gone=units.gone, most=units.most)
        except ValueError as error:
            units.inputs[0].layer.refuse(str(error))
        ranks, costs = np.empty_like(found.costs), np.where(units.gone, 0, found.costs)
        ranks[found.order] = np.maximum.accumulate(costs[found.order])
        if units.is_global:
            energy = sum(one.energy(used) for one, used in zip(consumers, found.dampings, strict=True))
            ranks /= energy or 1.0
        return UnitRanks(ranks, found.order)

    def working_bytes(self, size: LayerSize) -> int:
        """Return the bytes of an elimination of one matrix, and of what the others have become."""
        others = (size.matrices - 1) * size.rows * size.columns * size.itemsize
        return 2 * others + eliminate_bytes(size.rows, size.columns, size.itemsize, self.block or BLOCK)

    def shared_bytes(self, size: LayerSize) -> int:
        """Return the bytes of the factor of H."""
        return size.gram_bytes

    def eliminated(self, parameter: ArrivedParameter, choices: Sequence[Choice]) -> Outcome:
        """Return what remains where each matrix is pruned by its choice, and the weights that make up for it.

        Raises: CheckpointError if the statistics cannot be used.
        """
        block, asked = self.block or BLOCK, DAMPING if self.damping is None else self.damping

        def prune(weight: Array, gram: Gram, choose: Choice, keep: Array) -> Eliminated:
            return eliminate(weight, gram, choose, keep=keep, block=block, damping=asked)

        return outcome_of(parameter, choices, prune, asked=asked, block=block)

    @staticmethod
    def _refuse(path: str, text: str) -> None:
        raise RecipeError(Reason.INVALID_RECIPE, f"{path}: {text}", field=path)


def _consumer(inputs: UnitInputs) -> Consumer:
    layer = inputs.layer
    return Consumer(
        weight=inputs.weight, units=inputs.columns, gram=layer.grams[inputs.index], output_gram=layer.output_gram
    )
