"""What is asked: rules that compose. Frozen values, checked by `check`, that know no tensor.

A rule's parts are independent of each other: which tensors (`Selector`), by what importance (a score), in which
pieces (a granularity), competing with whom (`Scope`), and how many fall (an amount).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import NoneType
from typing import Final, TypeAlias, TypeVar

from pruning_engine.errors import Reason, RecipeError
from pruning_engine.norm import DEFAULT_NORM, NamedNorm, Norm
from pruning_engine.recipe.builtin_groups import check_map
from pruning_engine.recipe.channel_groups import ChannelGroup, ChannelSlice, Units, check_units

__all__ = [
    "DEFAULT_NORM",
    "RANKING",
    "Amount",
    "Argument",
    "ChannelGroup",
    "ChannelSlice",
    "Channels",
    "Count",
    "CustomMask",
    "Dead",
    "Entries",
    "Fraction",
    "Granularity",
    "Identity",
    "ImportanceScores",
    "Magnitude",
    "Method",
    "NamedNorm",
    "Norm",
    "OutputForm",
    "Prior",
    "Random",
    "Recipe",
    "Rule",
    "Scope",
    "Score",
    "Selector",
    "Sparsity",
    "Units",
    "check",
    "score_field",
]


class Scope(StrEnum):
    """Who competes."""

    LOCAL = "local"
    """Each selected tensor gives its share."""
    GLOBAL = "global"
    """All selected tensors compete for one amount."""


class Prior(StrEnum):
    """What counts as pruned before a rule acts."""

    MASK = "mask"
    """What a prior mask or an earlier rule pruned."""
    ZEROS = "zeros"
    """That, and every entry that is zero."""


class OutputForm(StrEnum):
    """The form of a result."""

    PRUNED = "pruned"
    """`w`, with +0.0 where entries are pruned: what torch's `remove` leaves."""
    MASKED = "masked"
    """`w_orig` and `w_mask` (bool): what torch's pruning leaves in a state_dict."""
    MASK = "mask"
    """`w:mask_bits` only: uint8, flat, little bit order, 1 = kept, spare bits 0."""
    REPORT = "report"
    """Nothing but the report."""
    REMOVED = "removed"
    """`w` without the units that fell: smaller tensors."""


@dataclass(frozen=True, slots=True)
class Fraction:
    """A part of what is still unpruned, 0.0 to 1.0; halves round to even. torch's float amount."""

    value: float

    def of(self, unpruned: int, total: int) -> int:  # noqa: ARG002 - one signature for the three amounts
        """Give how many of `unpruned` out of `total` fall."""
        return round(self.value * unpruned)


@dataclass(frozen=True, slots=True)
class Count:
    """So many, at most what is still unpruned. torch's int amount."""

    value: int

    def of(self, unpruned: int, total: int) -> int:  # noqa: ARG002
        """Give how many of `unpruned` out of `total` fall; more than `unpruned` is for the caller to refuse."""
        return self.value


@dataclass(frozen=True, slots=True)
class Sparsity:
    """Prune until this part of all, 0.0 to 1.0, is pruned, what was pruned before included."""

    value: float

    def of(self, unpruned: int, total: int) -> int:
        """Give how many of `unpruned` out of `total` fall: none if the sparsity is reached already."""
        return max(0, round(self.value * total) - (total - unpruned))


Amount: TypeAlias = Fraction | Count | Sparsity


@dataclass(frozen=True, slots=True)
class Magnitude:
    """|w| of an entry; the norm of a channel over what is not pruned yet.

    `norm` is for channels only: None means p = 2.
    """

    norm: Norm | None = None

    def __post_init__(self) -> None:
        _set(self, "norm", _as_norm(self.norm))


@dataclass(frozen=True, slots=True)
class Random:
    """Random importance, from the recipe's seed."""


@dataclass(frozen=True, slots=True)
class ImportanceScores:
    """The magnitude of `w:scores`. Without them `w` itself is ranked if `fall_back_to_weights`, else it is refused."""

    norm: Norm | None = None
    fall_back_to_weights: bool = False

    def __post_init__(self) -> None:
        _set(self, "norm", _as_norm(self.norm))


@dataclass(frozen=True, slots=True)
class CustomMask:
    """No ranking: what `w:mask` marks 0 falls."""


@dataclass(frozen=True, slots=True)
class Identity:
    """No ranking: nothing more falls."""


@dataclass(frozen=True, slots=True)
class Dead:
    """No ranking: units fall whose every tied entry is zero or pruned, running statistics aside."""


Argument: TypeAlias = float | int | str | bool


@dataclass(frozen=True, slots=True)
class Method:
    """A method that is installed beside the engine, by its name, and what its constructor is given: see plugins.py."""

    name: str
    arguments: Mapping[str, Argument] = field(default_factory=dict, hash=False)


Score: TypeAlias = Magnitude | Random | ImportanceScores | CustomMask | Identity | Method | Dead
RANKING: Final = (Magnitude, Random, ImportanceScores)
"""The scores that rank, and so take an amount, a granularity and a scope."""


@dataclass(frozen=True, slots=True)
class Entries:
    """Single entries fall: torch's "unstructured"."""


@dataclass(frozen=True, slots=True)
class Channels:
    """Whole slices along `dim` fall: torch's "structured". Negative dims count from the last."""

    dim: int = 0


Granularity: TypeAlias = Entries | Channels | Units


@dataclass(frozen=True, slots=True)
class Selector:
    """Which tensors, by patterns over their full names: globs (`*` also spans dots), or regexes after `re:`.

    `include` replaces the default's names and its wish for 2 dims; empty means the default selection.
    `exclude` takes away.
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


_PARTS: Final = {
    "score": (Magnitude, Random, ImportanceScores, CustomMask, Identity, Method, Dead),
    "amount": (Fraction, Count, Sparsity, NoneType),
    "select": (Selector,),
    "granularity": (Entries, Channels, Units),
}
"""What each part of a rule may be."""

_Word = TypeVar("_Word", bound=StrEnum)


def _word(kind: type[_Word], value: str, field_name: str) -> _Word:
    try:
        return kind(value)
    except ValueError as error:
        words = ", ".join(kind)
        raise RecipeError(
            Reason.INVALID_RECIPE, f"{field_name} is one of {words}; got {value!r}", field=field_name
        ) from error


def _as_norm(norm: object) -> Norm | None:
    if norm is None or isinstance(norm, NamedNorm):
        return norm
    if isinstance(norm, str) and norm in set(NamedNorm):
        return NamedNorm(norm)
    if isinstance(norm, int | float):
        return float(norm)
    raise RecipeError(
        Reason.INVALID_NORM, f"norm is a number or one of {', '.join(NamedNorm)}; got {norm!r}", field="norm"
    )


def _set(value: object, field_name: str, part: object) -> None:
    object.__setattr__(value, field_name, part)  # a frozen value sets itself up


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule: which tensors, by what importance, in which pieces, competing with whom, and how many fall.

    `scope` and `prior` may be given as words. Raises: RecipeError for a word or a type that has no meaning.
    """

    score: Score
    amount: Amount | None = None
    select: Selector = Selector()
    granularity: Granularity = Entries()
    scope: Scope = Scope.LOCAL
    prior: Prior = Prior.MASK

    def __post_init__(self) -> None:
        _set(self, "scope", _word(Scope, self.scope, "scope"))
        _set(self, "prior", _word(Prior, self.prior, "prior"))
        for field_name, kinds in _PARTS.items():
            value = getattr(self, field_name)
            if not isinstance(value, kinds):
                names = " or ".join(kind.__name__ for kind in kinds if kind is not NoneType)
                raise RecipeError(
                    Reason.INVALID_RECIPE, f"{field_name} must be {names}, got {value!r}", field=field_name
                )


@dataclass(frozen=True, slots=True)
class Recipe:
    """Rules, applied in order, and the 64-bit seed of their randomness; None: one is drawn."""

    rules: tuple[Rule, ...]
    seed: int | None = None

    @property
    def is_random(self) -> bool:
        """Whether chance decides in any rule, so that the seed matters."""
        return any(isinstance(rule.score, Random) for rule in self.rules)


def check(recipe: Recipe) -> None:
    """Refuse a recipe that makes no sense whatever the checkpoint.

    Raises: RecipeError with the path of the field at fault.
    """
    if not recipe.rules:
        raise RecipeError(Reason.INVALID_RECIPE, "a recipe needs at least one rule", field="rules")
    if recipe.seed is not None and not 0 <= recipe.seed < 2**64:
        raise RecipeError(Reason.INVALID_RECIPE, f"a seed is 0 to 2^64 - 1, got {recipe.seed}", field="seed")
    for position, rule in enumerate(recipe.rules):
        _check_rule(rule, f"rules[{position}]")


def _check_rule(rule: Rule, path: str) -> None:
    if isinstance(rule.granularity, Units):
        _check_units(rule, rule.granularity, path)
    if isinstance(rule.score, RANKING):
        _check_amount(rule.amount, f"{path}.amount")
        _check_norm(rule, f"{path}.score")
        return
    name = {Identity: "identity", CustomMask: "custom_mask", Dead: "dead"}.get(type(rule.score), "method")
    if isinstance(rule.score, Dead) and not isinstance(rule.granularity, Units):
        raise RecipeError(
            Reason.INVALID_RECIPE,
            f"{path}.granularity: dead is a score of units; say what is tied",
            field=f"{path}.granularity",
        )
    for part, given in (
        ("amount", rule.amount is not None),
        ("scope", rule.scope is not Scope.LOCAL),
        ("granularity", rule.granularity != Entries() and not isinstance(rule.score, Dead)),
    ):
        if given:
            raise RecipeError(
                Reason.INVALID_RECIPE, f"{path}: {name} takes no {part}; leave it out", field=f"{path}.{part}"
            )


def _check_units(rule: Rule, units: Units, path: str) -> None:
    check_units(units, f"{path}.granularity.units")
    check_map(units, f"{path}.granularity.units")
    if rule.select != Selector():
        raise RecipeError(
            Reason.INVALID_RECIPE,
            f"{path}.select: a rule of units acts on the tensors of its ties, and takes no select; leave it out",
            field=f"{path}.select",
        )


def _check_amount(amount: Amount | None, path: str) -> None:
    if amount is None:
        raise RecipeError(Reason.INVALID_RECIPE, f"{path}: a fraction, a count or a sparsity is required", field=path)
    if isinstance(amount, Count):
        if not isinstance(amount.value, int) or amount.value < 0:
            raise RecipeError(
                Reason.AMOUNT_OUT_OF_RANGE,
                f"{path}: a count is a whole number from 0, got {amount.value}",
                field=f"{path}.count",
            )
        return
    kind = type(amount).__name__.lower()
    if not (isinstance(amount.value, int | float) and 0.0 <= amount.value <= 1.0):  # also refuses NaN
        raise RecipeError(
            Reason.AMOUNT_OUT_OF_RANGE, f"{path}: a {kind} is 0.0 to 1.0, got {amount.value}", field=f"{path}.{kind}"
        )


def _check_norm(rule: Rule, path: str) -> None:
    if not isinstance(rule.score, Magnitude | ImportanceScores) or rule.score.norm is None:
        return
    place = f"{path}.{score_field(rule.score)}.norm"
    if isinstance(rule.granularity, Entries):
        raise RecipeError(
            Reason.INVALID_NORM, f"{place}: a norm is for channels; the magnitude of an entry needs none", field=place
        )
    if isinstance(rule.granularity, Units) and rule.score.norm is NamedNorm.NUC:
        raise RecipeError(
            Reason.INVALID_NORM,
            f"{place}: the nuclear norm is of single channels; units take p",
            field=f"{place}.named",
        )
    if isinstance(rule.score.norm, float) and math.isnan(rule.score.norm):
        raise RecipeError(Reason.INVALID_NORM, f"{place}: the norm's p is NaN", field=f"{place}.p")


def score_field(score: Magnitude | ImportanceScores) -> str:
    """Give the name of a score in a recipe's paths."""
    return "magnitude" if isinstance(score, Magnitude) else "importance_scores"
