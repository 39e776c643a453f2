"""Schedules of iterative pruning: the sparsity of a model after each round of pruning and fine-tuning.

    schedule = PruningSchedule.cubic(0.9, rounds=8)
    for step in schedule:
        result = client.prune(state_dict, rules.l1_unstructured(step.amount, scope="global"), output="masked")
        state_dict = fine_tune(result.state_dict)

Sparsities are absolute, parts of all weights, so that a round which is started again, or from another checkpoint, asks
for the same. Plain arithmetic on frozen values: no torch, and no state between rounds.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Final, Self

from pruning_client.errors import recipe_error
from pruning_client.recipes.amounts import Amount
from pruning_client.recipes.amounts import sparsity as amount_of_sparsity
from pruning_proto.reasons import Reason

_DIGITS: Final = 15
"""Of a sparsity: 1 - (1 - 0.1) is less than 0.1, and would prune one weight of 15 where 0.1 prunes two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PruningRound:
    """One round: prune from sparsity `before` to `sparsity`, then fine-tune. `number` counts from 1.

    Units: parts of all weights, 0.0 to 1.0.
    Example:
        >>> first, second = PruningSchedule((0.5, 0.75))
        >>> second.amount, second.fraction
        (sparsity(0.75), 0.5)
    """

    number: int
    before: float
    sparsity: float

    @property
    def amount(self) -> Amount:
        """The amount of a rule: the absolute sparsity."""
        return amount_of_sparsity(self.sparsity)

    @property
    def fraction(self) -> float:
        """The same as a part of what the previous round left: torch's `amount`, up to rounding by one weight."""
        return 0.0 if self.before == 1.0 else (self.sparsity - self.before) / (1.0 - self.before)


@dataclass(frozen=True, slots=True)
class PruningSchedule:
    """The sparsity to reach in each round, as absolute parts of all weights that never decrease; iterates over rounds.

    `start` is the sparsity that the first round begins with.

    Raises: RecipeError for a sparsity that is not within 0.0 to 1.0 or is below the previous one, and for no rounds.
    Example:
        >>> [step.sparsity for step in PruningSchedule.cubic(0.9, rounds=3)]
        [0.6333333333333333, 0.8666666666666667, 0.9]
    """

    sparsities: tuple[float, ...]
    start: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "sparsities", tuple(self.sparsities))
        _check_rounds(len(self.sparsities))
        _check_part("start", self.start)
        before = self.start
        for position, sparsity in enumerate(self.sparsities):
            field = f"sparsities[{position}]"
            _check_part(field, sparsity)
            if sparsity < before:
                description = f"what is pruned stays pruned: a sparsity of {before!r} or more follows, got {sparsity!r}"
                raise recipe_error(Reason.INVALID_RECIPE, field, description)
            before = sparsity

    def __len__(self) -> int:
        return len(self.sparsities)

    def __iter__(self) -> Iterator[PruningRound]:
        before = self.start
        for number, sparsity in enumerate(self.sparsities, 1):
            yield PruningRound(number=number, before=before, sparsity=sparsity)
            before = sparsity

    @classmethod
    def constant_fraction(cls, fraction: float, *, rounds: int, start: float = 0.0) -> Self:
        """Prune the same part of what is left in every round: 0.2 five times leaves 0.8^5, a third.

        Source: Han et al. 2015, arXiv:1506.02626, section 3 (iterative pruning); Frankle and Carbin 2019,
        arXiv:1803.03635, who take a fifth a round.
        """
        _check_rounds(rounds)
        _check_part("fraction", fraction)
        _check_part("start", start)
        reached = (1.0 - (1.0 - start) * (1.0 - fraction) ** number for number in range(1, rounds + 1))
        return cls(tuple(max(start, round(sparsity, _DIGITS)) for sparsity in reached), start)

    @classmethod
    def constant_fraction_to(cls, sparsity: float, *, rounds: int, start: float = 0.0) -> Self:
        """Prune the same part of what is left in every round, and reach `sparsity` in the last.

        Raises: RecipeError, for a sparsity of 1.0 too: pruning a constant fraction of what is left never reaches it.
        """
        _check_ends(start, sparsity, rounds)
        if sparsity == 1.0:
            description = (
                "a constant fraction never prunes all: give less than 1.0, or take the linear or cubic schedule"
            )
            raise recipe_error(Reason.AMOUNT_OUT_OF_RANGE, "sparsity", description)
        left = (1.0 - sparsity) / (1.0 - start)
        return cls._through(lambda part: 1.0 - (1.0 - start) * left**part, sparsity, rounds, start)

    @classmethod
    def linear(cls, sparsity: float, *, rounds: int, start: float = 0.0) -> Self:
        """Prune the same number of weights in every round, and reach `sparsity` in the last."""
        _check_ends(start, sparsity, rounds)
        return cls._through(lambda part: start + (sparsity - start) * part, sparsity, rounds, start)

    @classmethod
    def cubic(cls, sparsity: float, *, rounds: int, start: float = 0.0) -> Self:
        """Prune much in the first rounds, then less and less, and reach `sparsity` in the last.

        Source: Zhu and Gupta 2017, arXiv:1710.01878, eq. 1, at t = t0 + r dt for r = 1 to n = `rounds`, with s_i =
        `start` and s_f = `sparsity`: s_r = s_f + (s_i - s_f) (1 - r / n)^3. Their r = 0,
        which prunes to s_i, is not a round here.
        """
        _check_ends(start, sparsity, rounds)
        return cls._through(lambda part: sparsity + (start - sparsity) * (1.0 - part) ** 3, sparsity, rounds, start)

    @classmethod
    def _through(cls, curve: Callable[[float], float], sparsity: float, rounds: int, start: float) -> Self:
        """Sample a curve over the part of the rounds that is done; the last round is `sparsity` exactly."""
        before_last = (curve(number / rounds) for number in range(1, rounds))
        within = (min(max(value, start), sparsity) for value in before_last)  # rounding may step over an end
        return cls((*within, sparsity), start)


def _check_ends(start: float, sparsity: float, rounds: int) -> None:
    _check_rounds(rounds)
    _check_part("start", start)
    _check_part("sparsity", sparsity)
    if sparsity < start:
        description = f"what is pruned stays pruned: it is at least the start, {start!r}, got {sparsity!r}"
        raise recipe_error(Reason.INVALID_RECIPE, "sparsity", description)


def _check_rounds(rounds: int) -> None:
    if not isinstance(rounds, Integral) or isinstance(rounds, bool) or rounds < 1:
        raise recipe_error(Reason.INVALID_RECIPE, "rounds", f"a schedule has one round or more, got {rounds!r}")


def _check_part(field: str, value: float) -> None:
    if not isinstance(value, Real) or not 0.0 <= value <= 1.0:  # NaN too fails the comparison
        raise recipe_error(Reason.AMOUNT_OUT_OF_RANGE, field, f"this is a part of all, 0.0 to 1.0; got {value!r}")
