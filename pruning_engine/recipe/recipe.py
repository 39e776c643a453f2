"""Recipes: rules that compose, as frozen values. `validation.py` refuses combinations that are invalid.

A rule's parts are independent of each other: which tensors (`Selector`), by what importance (a score), in which
pieces (a granularity), competing with which (`Scope`), and how many are pruned (an amount).
"""

from dataclasses import dataclass
from enum import StrEnum
from types import NoneType
from typing import Final, TypeVar

from pruning_engine.allocations.allocation import Allocation, Bounds
from pruning_engine.allocations.table import ALLOCATIONS
from pruning_engine.errors import Reason, RecipeError
from pruning_engine.granularities.entries import Entries
from pruning_engine.granularities.granularity import Granularity
from pruning_engine.granularities.table import GRANULARITIES
from pruning_engine.recipe.amounts import Amount, Count, Fraction, Kept, Sparsity
from pruning_engine.scope import Scope
from pruning_engine.scores.score import Score
from pruning_engine.scores.table import SCORES
from pruning_engine.updates.swaps import Swaps
from pruning_engine.updates.table import UPDATES
from pruning_engine.updates.update import Update


class Prior(StrEnum):
    """What counts as pruned before a rule acts."""

    HISTORY = "history"
    """What a prior mask or an earlier rule pruned; and every zero of a tensor without a mask that an earlier round
    pruned, if the checkpoint has a history."""
    MASK = "mask"
    """What a prior mask or an earlier rule pruned."""
    ZEROS = "zeros"
    """That, and every entry that is zero."""


class OutputForm(StrEnum):
    """The format of a result."""

    PRUNED = "pruned"
    """`w`, with +0.0 where entries are pruned: what torch's `remove` leaves."""
    MASKED = "masked"
    """`w_orig` and `w_mask` (bool): what torch's pruning leaves in a state_dict."""
    MASK = "mask"
    """`w:mask_bits` only: uint8, flat, little bit order, 1 = kept, spare bits 0."""
    REPORT = "report"
    """Nothing but the report."""
    REMOVED = "removed"
    """`w` without the units that were pruned: smaller tensors."""
    SCAN = "scan"
    """Nothing but the report, with the predicted error of each tensor over sparsity; nothing is pruned."""


@dataclass(frozen=True, slots=True)
class Selector:
    """Which tensors, by patterns over their full names: globs (`*` also spans dots), or regexes after `re:`.

    `include` replaces the default targets; empty means these. `exclude` leaves tensors out. A pattern with wildcards
    selects floating point tensors of 2 dims or more only, a name written in full any that can be pruned. Each pattern
    matches the name of some tensor, or the recipe does not fit the checkpoint.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field_name in ("include", "exclude"):
            patterns = getattr(self, field_name)
            if isinstance(patterns, str):
                raise RecipeError(
                    Reason.INVALID_PATTERN,
                    f"{field_name} holds patterns, so give ({patterns!r},) in place of {patterns!r}",
                    field=f"select.{field_name}",
                )


_PARTS: Final[dict[str, tuple[type, ...]]] = {
    "score": tuple(SCORES.values()),
    "amount": (Fraction, Count, Sparsity, Kept, NoneType),
    "select": (Selector,),
    "granularity": tuple(GRANULARITIES.values()),
    "allocation": (*ALLOCATIONS.values(), NoneType),
    "bounds": (Bounds, NoneType),
    "swaps": (Swaps, NoneType),
    "update": (*UPDATES.values(), NoneType),
}
"""What each part of a rule may be."""

_ENTRIES: Final = Entries()

_Word = TypeVar("_Word", bound=StrEnum)


def _word(kind: type[_Word], value: str, field_name: str) -> _Word:
    try:
        return kind(value)
    except ValueError as error:
        words = ", ".join(kind)
        raise RecipeError(
            Reason.INVALID_RECIPE, f"{field_name} must be one of {words}, got {value!r}", field=field_name
        ) from error


def default_scope(score: Score, granularity: Granularity) -> Scope:
    """Return the scope of a rule that states none: the score's own, as far as the granularity takes it."""
    is_taken = granularity.takes_scope and (
        score.default_scope is not Scope.OUTPUT_CHANNEL or granularity.takes_output_channels
    )
    return score.default_scope if is_taken else Scope.LOCAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule: which tensors, by what importance, in which pieces, competing with which, and how many are pruned.

    `scope`: None is the score's own. `allocation`: how the amount is divided among tensors; None: evenly. `bounds`:
    of each tensor's sparsity. `input_dim`: the dim of the input channels; None: as the request or the auxiliary tensors
    say. `swaps` improve the mask, `update` the remaining weights; None: neither. `is_scanned`: its errors
    are predicted, and it prunes nothing; set for output format SCAN.

    `scope` and `prior` may be given as words. Raises: RecipeError for an unknown word or a value of the wrong type.
    """

    score: Score
    amount: Amount | None = None
    select: Selector = Selector()
    granularity: Granularity = _ENTRIES
    scope: Scope = None  # type: ignore[assignment] # __post_init__ sets the score's own
    prior: Prior = Prior.HISTORY
    allocation: Allocation | None = None
    bounds: Bounds | None = None
    input_dim: int | None = None
    swaps: Swaps | None = None
    update: Update | None = None
    is_scanned: bool = False

    def __post_init__(self) -> None:
        for field_name, kinds in _PARTS.items():
            value = getattr(self, field_name)
            if not isinstance(value, kinds):
                names = " or ".join(kind.__name__ for kind in kinds if kind is not NoneType)
                raise RecipeError(
                    Reason.INVALID_RECIPE, f"{field_name} must be {names}, got {value!r}", field=field_name
                )
        scope = default_scope(self.score, self.granularity) if self.scope is None else self.scope
        object.__setattr__(self, "scope", _word(Scope, scope, "scope"))
        object.__setattr__(self, "prior", _word(Prior, self.prior, "prior"))

    @property
    def changes_weights(self) -> bool:
        """Whether its outcomes have new weights or biases: it then needs an output format that carries them."""
        return self.score.changes_weights or self.update is not None

    @property
    def replaces_weights(self) -> bool:
        """Whether the weights that it selects get new values, which takes a second copy of them."""
        return self.score.changes_weights or (self.update is not None and self.update.changes_weights)

    @property
    def is_reproducible(self) -> bool:
        """Whether the same request gives the same bytes on every device.

        BLAS decides the last bits of an update, and of the errors by which amounts are divided.
        """
        is_measured = self.allocation is not None and bool(self.allocation.statistics)
        return self.score.is_reproducible and self.update is None and not is_measured


@dataclass(frozen=True, slots=True)
class Recipe:
    """Rules, applied in order, and the 64-bit seed of their randomness; None: one is drawn."""

    rules: tuple[Rule, ...]
    seed: int | None = None

    @property
    def is_random(self) -> bool:
        """Whether any rule is random, so that the seed matters."""
        return any(rule.score.is_random for rule in self.rules)
