# ruff: noqa: PLR0913 - a builder has the parts of a Rule, each by keyword
"""`rules.auto`: the method that the available statistics allow."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pruning_client.errors import recipe_error
from pruning_client.recipes.amounts import AmountLike
from pruning_client.rules.calibrated_entries import alps, ria
from pruning_client.rules.calibrated_entries import n_of_m as n_of_m_rule
from pruning_client.rules.entries import l1_unstructured
from pruning_client.rules.parts import NOfMLike, Patterns, PriorName
from pruning_client.rules.rule import Rule
from pruning_client.rules.units import Groups, remove_units
from pruning_proto.names import IN_COUNT, IN_GRAM, IN_NORM, IN_SUM, IN_SUM2, INPUTS, OUT_GRAM
from pruning_proto.reasons import Reason

if TYPE_CHECKING:
    from pruning_client.statistics.statistics import Statistics


@dataclass(frozen=True, slots=True)
class AutomaticChoice:
    """A method by its builder's name, the arguments that it gets beyond those of the caller, and why it was chosen."""

    method: str
    reason: str
    arguments: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def summary(self) -> str:
        """What was chosen and why, in a sentence."""
        parts = [name if value is True else f"{name} {value}" for name, value in self.arguments.items()]
        arguments = f" with {', '.join(parts)}" if parts else ""
        return f"auto: {self.method}{arguments}, because {self.reason}"


_BY_GRAM: Final = AutomaticChoice(
    "alps", "the statistics have Gram matrices or inputs", MappingProxyType({"update": "refit"})
)
_BY_LOSS: Final = AutomaticChoice(
    "alps", "the statistics say how much the loss depends on each output", MappingProxyType({"update": "refit"})
)
_BY_NORMS: Final = AutomaticChoice("ria", "the statistics have norms, but no Gram matrices and no inputs")
_BY_MAGNITUDE: Final = AutomaticChoice("l1_unstructured", "there are no statistics")
_PATTERN_BY_MAGNITUDE: Final = AutomaticChoice("n_of_m", _BY_MAGNITUDE.reason)

_UNITS_BY_GRAM: Final = AutomaticChoice(
    "remove_units", _BY_GRAM.reason, MappingProxyType({"score": "obs", "update": "refit"})
)
_UNITS_BY_NORMS: Final = AutomaticChoice(
    "remove_units",
    "the statistics have norms and sums, but no Gram matrices and no inputs",
    MappingProxyType({"score": "activation_norm", "update": "bias_compensation"}),
)
_UNITS_BY_NORMS_ALONE: Final = AutomaticChoice(
    "remove_units", _BY_NORMS.reason, MappingProxyType({"score": "activation_norm"})
)
_UNITS_BY_MAGNITUDE: Final = AutomaticChoice("remove_units", _BY_MAGNITUDE.reason)


def automatic_units(suffixes: Collection[str]) -> AutomaticChoice:
    """Return how coupled channels are ranked and made up for with statistics of these suffixes.

    By `python -m tests.benchmarks.quality`, half of the feed-forward channels of an encoder and of a decoder.
    """
    if not {IN_GRAM, INPUTS}.isdisjoint(suffixes):
        return _UNITS_BY_GRAM
    if IN_SUM2 not in suffixes:
        return _UNITS_BY_MAGNITUDE
    return _UNITS_BY_NORMS if {IN_SUM, IN_COUNT} <= set(suffixes) else _UNITS_BY_NORMS_ALONE


def automatic_choice(suffixes: Collection[str], *, is_pattern: bool = False) -> AutomaticChoice:
    """Return the method for statistics with these suffixes, such as ":in_gram"; `is_pattern`: for N:M.

    By `python -m tests.benchmarks.quality`: each is within 1 % of the best method that these statistics allow, on an
    encoder and on a decoder.
    """
    if not {IN_GRAM, INPUTS}.isdisjoint(suffixes):
        return _BY_LOSS if OUT_GRAM in suffixes else _BY_GRAM
    if not {IN_SUM2, IN_NORM}.isdisjoint(suffixes):
        return _BY_NORMS
    return _PATTERN_BY_MAGNITUDE if is_pattern else _BY_MAGNITUDE


def suffixes_of(statistics: "Statistics | None") -> frozenset[str]:
    """Return what the tensors of statistics add to the names of their weights."""
    names = () if statistics is None else statistics.tensors
    return frozenset(f":{name.rpartition(':')[2]}" for name in names)


def auto(
    amount: AmountLike | None = None,
    *,
    n_of_m: NOfMLike | None = None,
    statistics: "Statistics | None" = None,
    include: Patterns = (),
    exclude: Patterns = (),
    prior: PriorName = "history",
    map: str = "",  # noqa: A002 - the contract's word
    groups: Groups = (),
) -> Rule:
    """Return the rule of the best method that these statistics allow; the same ones go to `Client.prune`.

    With Gram matrices or inputs that is `alps`, which refits the remaining weights; to the loss, if the statistics have
    gradients of the outputs (`w:out_gram`). With norms it is `ria`, and without statistics `l1_unstructured`, in each
    tensor. Either `amount` or `n_of_m` says how much is pruned.

    With `map` or `groups` it is `remove_units`: with Gram matrices by `obs` and with a refit, with norms by
    `activation_norm` and, where there are sums, with bias compensation, and without statistics by the norm of weights.

    Raises: RecipeError if neither or both of amount and n_of_m are given, or an argument is out of range.
    Example:
        >>> rules.auto(0.5)  # without statistics
        l1_unstructured(0.5)
    """
    if map or groups:
        if amount is None or n_of_m is not None:
            raise recipe_error(Reason.INVALID_RECIPE, "amount", "coupled channels need an amount, and take no n_of_m")
        if include or exclude:
            raise recipe_error(Reason.INVALID_RECIPE, "select", "map and groups say which tensors; leave out patterns")
        arguments = automatic_units(suffixes_of(statistics)).arguments
        return remove_units(amount, map=map, groups=groups, prior=prior, **arguments)
    choice = automatic_choice(suffixes_of(statistics), is_pattern=n_of_m is not None)
    targets: dict[str, Any] = {"include": include, "exclude": exclude, "prior": prior}
    if choice is _BY_MAGNITUDE and amount is not None:
        return l1_unstructured(amount, **targets)
    if choice is _PATTERN_BY_MAGNITUDE and n_of_m is not None and amount is None:
        return n_of_m_rule(*n_of_m, **targets)
    build = ria if choice is _BY_NORMS else alps  # they refuse both or neither, in the same words for all
    return build(amount, n_of_m=n_of_m, **targets, **choice.arguments)
