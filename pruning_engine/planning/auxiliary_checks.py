"""Which auxiliary tensors the rules of a parameter use, and what is refused: those that are missing or not used."""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Final, TypeAlias

from pruning_engine.checkpoints.auxiliary_tensors import AUXILIARY_TENSORS
from pruning_engine.checkpoints.parameters import AuxiliaryOf, Parameters
from pruning_engine.checkpoints.statistics import Alternatives, UsesStatistics
from pruning_engine.errors import MismatchError, Reason, RequestPart
from pruning_engine.recipe import Recipe, Rule
from pruning_proto.names import IN_COUNT, IN_GRAM, INPUTS, MASK_BITS, UNIT_SCORES

Users: TypeAlias = Mapping[int, frozenset[str]]
"""Of rules of units, by position, the parameters whose statistics or scores of units each uses."""


class _Scan(UsesStatistics):
    """What predicts errors takes the inputs of any selected tensor."""

    optional_statistics: ClassVar[tuple[Alternatives, ...]] = ((IN_GRAM, INPUTS), (IN_COUNT,))


_SCAN: Final = _Scan()


def parts_with_statistics(rule: Rule) -> Iterator[tuple[str, UsesStatistics]]:
    """Return the parts of a rule that may use statistics, each after its field."""
    parts = {
        "score": rule.score,
        "allocation": rule.allocation,
        "swaps": rule.swaps,
        "update": rule.update,
        "scan": _SCAN if rule.is_scanned else None,
    }
    return ((field, part) for field, part in parts.items() if part is not None)


def check_statistics(rule: Rule, name: str, auxiliary: AuxiliaryOf, path: str) -> None:
    """Refuse a parameter that lacks statistics of a rule at `path`. Raises: MismatchError naming the parameter."""
    for field, part in parts_with_statistics(rule):
        part.check_statistics(name, auxiliary, f"{path}.{field}")


def used_auxiliary(rules: Sequence[Rule], auxiliary: AuxiliaryOf, others: Sequence[Rule] = ()) -> frozenset[str]:
    """Return the suffixes of the auxiliary tensors of one parameter that the rules which select it use.

    `others`: rules of units that select it, but whose units others consume and have the scores of.
    """
    prior = {MASK_BITS} if rules or others else set()
    scores = {suffix for rule in rules for suffix in rule.score.used_auxiliary}
    scores |= {suffix for rule in others for suffix in rule.score.used_auxiliary if suffix != UNIT_SCORES}
    parts = (part for rule in rules for _, part in parts_with_statistics(rule))
    statistics = {suffix for part in parts for suffix in part.used_statistics(auxiliary)}
    return frozenset((prior | scores | statistics) & set(auxiliary))


def used_by(
    recipe: Recipe, name: str, positions: Sequence[int], auxiliary: AuxiliaryOf, users: Users
) -> frozenset[str]:
    """Return the suffixes of the auxiliary tensors of a parameter that the rules at these positions use."""
    own, others = _split(recipe, name, positions, users)
    return used_auxiliary(own, auxiliary, others)


def _split(recipe: Recipe, name: str, positions: Sequence[int], users: Users) -> tuple[list[Rule], list[Rule]]:
    """Return the rules that use statistics of a parameter, if it has some, and those that use none."""
    own = [recipe.rules[position] for position in positions if name in users.get(position, (name,))]
    others = [recipe.rules[position] for position in positions if name not in users.get(position, (name,))]
    return own, others


def check_use(recipe: Recipe, parameters: Parameters, selected: Sequence[tuple[int, ...]], users: Users) -> None:
    """Refuse auxiliary tensors that no rule uses, and aliases of their names.

    Raises: MismatchError naming the first one.
    """
    rules: dict[str, list[Rule]] = {}
    used: dict[str, frozenset[str]] = {}
    for name, positions in zip(parameters.weights, selected, strict=True):
        if name in parameters.auxiliary:
            rules[name], others = _split(recipe, name, positions, users)
            used[name] = used_auxiliary(rules[name], parameters.auxiliary[name], others)
    names = {parameters.auxiliary[name][suffix].name for name, suffixes in used.items() for suffix in suffixes}
    for name, auxiliary in parameters.auxiliary.items():
        for suffix, spec in auxiliary.items():
            if spec.name not in names:
                why = _reason(suffix, rules[name], auxiliary)
                raise MismatchError(
                    Reason.UNUSED_COMPANION,
                    f"auxiliary tensor {spec.name!r} is not used: {why}; leave it out, or let a rule use it",
                    tensor=spec.name,
                )
    for alias in parameters.auxiliary_aliases:
        if alias.suffix not in used[alias.parameter]:
            why = _reason(alias.suffix, rules[alias.parameter], parameters.auxiliary[alias.parameter])
            raise MismatchError(
                Reason.UNUSED_COMPANION,
                f"auxiliary alias {alias.name!r} is not used: {why}; leave it out, or let a rule use it",
                field=alias.field,
                part=RequestPart.OPTIONS,
                tensor=alias.name,
            )


def _reason(suffix: str, rules: Sequence[Rule], auxiliary: AuxiliaryOf) -> str:
    for rule in rules:
        for field, part in parts_with_statistics(rule):
            for alternatives in (*part.statistics, *part.optional_statistics):
                if suffix in alternatives:
                    instead = next(other for other in alternatives if other in auxiliary)
                    return f"the {field} of the rule takes {auxiliary[instead].name!r} instead"
    return f"no {AUXILIARY_TENSORS[suffix].user} selects its parameter"
