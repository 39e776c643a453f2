"""What a plan refuses: rules that do not fit the parameters they select. Knows specs and rules, never data."""

from collections.abc import Mapping, Sequence
from typing import Final

from pruning_engine.checkpoints.parameters import LogicalParameter, TensorSpec
from pruning_engine.errors import MismatchError, Reason, RecipeError
from pruning_engine.planning.installed_methods import make_method, method_class
from pruning_engine.planning.resolved_groups import ResolvedGroup
from pruning_engine.recipe import (
    Channels,
    Count,
    CustomMask,
    Granularity,
    ImportanceScores,
    Magnitude,
    Method,
    NamedNorm,
    OutputForm,
    Recipe,
    Rule,
    Scope,
    Score,
    Selector,
    Units,
    score_field,
)

_CHANNEL_DIMS: Final = 2
_NUCLEAR_DIMS: Final = 3
_NUCLEAR_SIDE: Final = 1024
_NUCLEAR_PRODUCTS: Final = _NUCLEAR_SIDE**3
"""Singular values of a matrix cost rows x columns x the lesser of both: about a second for so many, during which nobody
else has a turn, and a cancelled call does not end."""


def check_methods(recipe: Recipe) -> None:
    """Refuse methods that are not installed, or do not take their arguments. Raises: RecipeError."""
    for position, rule in enumerate(recipe.rules):
        if isinstance(rule.score, Method):
            field = f"rules[{position}].score.method"
            make_method(method_class(rule.score.name, f"{field}.name"), rule.score, f"{field}.arguments")


def check_output(recipe: Recipe, output: OutputForm) -> None:
    """Refuse to remove units where no rule names any. Raises: RecipeError."""
    if output is OutputForm.REMOVED and not any(isinstance(rule.granularity, Units) for rule in recipe.rules):
        raise RecipeError(
            Reason.INVALID_RECIPE,
            "output: form REMOVED takes out what falls by a rule of granularity `units`, and the recipe has none; "
            "add one, or ask for form PRUNED",
            field="output",
        )


def check_groups(
    recipe: Recipe, groups: Mapping[int, Sequence[ResolvedGroup]], parameters: Sequence[LogicalParameter]
) -> None:
    """Refuse groups that a rule cannot rank, or of which it counts more than there are.

    Raises: MismatchError naming the group, or the parameter that lacks its scores.
    """
    by_name = {parameter.name: parameter for parameter in parameters} if groups else {}
    for position, found in groups.items():
        rule, path = recipe.rules[position], f"rules[{position}]"
        if isinstance(rule.amount, Count):
            _check_unit_count(rule, position, found)
        if not isinstance(rule.score, Magnitude | ImportanceScores):
            continue
        for group in found:
            _check_scored(group, path)
            for tie in group.ties:
                if tie.scored:
                    _check_needs(rule, by_name[tie.parameter], path)


def _check_unit_count(rule: Rule, position: int, groups: Sequence[ResolvedGroup]) -> None:
    together: list[tuple[str | None, int]] = [(None, sum(group.units for group in groups))]
    each: list[tuple[str | None, int]] = [(group.name, group.units) for group in groups]
    for name, most in together if rule.scope is Scope.GLOBAL else each:
        assert isinstance(rule.amount, Count)  # noqa: S101 - else this is not asked
        if rule.amount.value > most:
            refuse_count(rule, position, most, name)


def _check_scored(group: ResolvedGroup, path: str) -> None:
    if not any(tie.scored for tie in group.ties):
        field = f"{path}.granularity.units"
        raise MismatchError(
            Reason.TIE_MISFIT,
            f"{field}: no tie of group {group.name!r} counts in a unit's importance: those of floating point and "
            f"2 dims or more do by themselves, others with scored: true",
            field=field,
            tensor=group.ties[0].parameter,
        )


class ParameterChecks:
    """Refuses what a parameter cannot bear. Of rules that ask the same of a tensor it looks at the first one only."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._telling: dict[tuple[int, ...], tuple[int, ...]] = {}

    def __call__(self, parameter: LogicalParameter, rules: tuple[int, ...]) -> None:
        """Refuse rules that a parameter cannot bear, and companions that they lack or do not use.

        Raises: MismatchError naming the parameter or companion, and the rule's field.
        """
        if rules not in self._telling:
            self._telling[rules] = self._first_of_each(rules)
        telling = self._telling[rules]
        for position in telling:
            rule = self._recipe.rules[position]
            _check_channels(rule, parameter.weight, parameter.name, f"rules[{position}]")
            if not isinstance(rule.granularity, Units):  # of those, only some tensors are ranked
                _check_needs(rule, parameter, f"rules[{position}]")
        _check_use([self._recipe.rules[position] for position in telling], parameter)

    def _first_of_each(self, rules: tuple[int, ...]) -> tuple[int, ...]:
        """The first rule of each score and granularity, which is all that these checks hang on."""
        first: dict[tuple[Score, Granularity], int] = {}
        for position in rules:
            rule = self._recipe.rules[position]
            first.setdefault((rule.score, rule.granularity), position)
        return tuple(first.values())


def check_counts(recipe: Recipe, parameters: Sequence[LogicalParameter], selected: Sequence[Sequence[int]]) -> None:
    """Refuse a count above what there is, as far as that is known without data.

    Raises: MismatchError naming the rule's amount, and in local scope the parameter.
    """
    candidates: dict[tuple[Selector, Granularity], list[tuple[str, int]]] = {}
    for position, rule in enumerate(recipe.rules):
        if not isinstance(rule.amount, Count) or isinstance(rule.granularity, Units):
            continue
        key = rule.select, rule.granularity
        if key not in candidates:
            candidates[key] = [
                (parameter.name, _candidates(rule, parameter.weight))
                for parameter, rules in zip(parameters, selected, strict=True)
                if position in rules
            ]
        together: list[tuple[str | None, int]] = [(None, sum(most for _, most in candidates[key]))]
        for tensor, most in together if rule.scope is Scope.GLOBAL else candidates[key]:
            if rule.amount.value > most:
                refuse_count(rule, position, most, tensor)


def refuse_count(rule: Rule, position: int, candidates: int, tensor: str | None) -> None:
    """Refuse a count above what is still unpruned. `tensor`: the one at fault, or the group, in local scope."""
    assert isinstance(rule.amount, Count)  # noqa: S101 - only a count can be too large
    are_units = isinstance(rule.granularity, Units)
    what = "units" if are_units else "channels" if isinstance(rule.granularity, Channels) else "entries"
    one, several = ("group", "the groups have") if are_units else ("tensor", "the selected tensors have")
    where = f"{one} {tensor!r} has" if tensor is not None else several
    raise MismatchError(
        Reason.COUNT_TOO_LARGE,
        f"rules[{position}].amount: {rule.amount.value:,} {what} should fall, but {where} only {candidates:,} "
        f"still unpruned; ask for at most that, or for a fraction",
        field=f"rules[{position}].amount.count",
        tensor=None if are_units else tensor,
    )


def _candidates(rule: Rule, weight: TensorSpec) -> int:
    """The most that can fall of one tensor; a prior mask may leave fewer."""
    if isinstance(rule.granularity, Channels):
        return weight.shape[rule.granularity.dim] if weight.entries else 0
    return weight.entries


def _check_channels(rule: Rule, weight: TensorSpec, name: str, path: str) -> None:
    if not isinstance(rule.granularity, Channels):
        return
    dim, dims = rule.granularity.dim, len(weight.shape)
    if dims < _CHANNEL_DIMS or not -dims <= dim < dims:
        allowed = f"{-dims} to {dims - 1}" if dims >= _CHANNEL_DIMS else "none: channels need 2 dims or more"
        raise MismatchError(
            Reason.DIM_OUT_OF_RANGE,
            f"{path}.granularity: tensor {name!r} of shape {list(weight.shape)} has no channels along dim {dim}; "
            f"allowed dims: {allowed}",
            field=f"{path}.granularity.channels.dim",
            tensor=name,
        )
    if isinstance(rule.score, Magnitude | ImportanceScores) and rule.score.norm is NamedNorm.NUC:
        _check_nuclear(weight, name, dim, f"{path}.score.{score_field(rule.score)}.norm")


def _check_nuclear(weight: TensorSpec, name: str, dim: int, place: str) -> None:
    if len(weight.shape) != _NUCLEAR_DIMS:
        raise MismatchError(
            Reason.NORM_NOT_DEFINED,
            f"{place}: the nuclear norm is of matrices, so of tensors of 3 dims; "
            f"tensor {name!r} has shape {list(weight.shape)}",
            field=place,
            tensor=name,
        )
    rows, columns = (size for at, size in enumerate(weight.shape) if at != dim % _NUCLEAR_DIMS)
    if rows * columns * min(rows, columns) > _NUCLEAR_PRODUCTS:
        raise MismatchError(
            Reason.NORM_NOT_DEFINED,
            f"{place}: the nuclear norm is offered for matrices up to {_NUCLEAR_SIDE} x {_NUCLEAR_SIDE} (rows times "
            f"columns times the lesser of both at most {_NUCLEAR_PRODUCTS:,}); the channels of tensor {name!r} along "
            f"dim {dim} are {rows} x {columns}. Use another norm, such as 2, for this tensor",
            field=place,
            tensor=name,
        )


def _check_needs(rule: Rule, parameter: LogicalParameter, path: str) -> None:
    if isinstance(rule.score, CustomMask) and parameter.custom_mask is None:
        _refuse_missing(parameter, ":mask", path, "the mask that custom_mask applies")
    if isinstance(rule.score, ImportanceScores) and parameter.scores is None and not rule.score.fall_back_to_weights:
        _refuse_missing(parameter, ":scores", path, "unless the rule may fall back to weights")


def _refuse_missing(parameter: LogicalParameter, suffix: str, path: str, why: str) -> None:
    raise MismatchError(
        Reason.MISSING_COMPANION,
        f"{path} selects {parameter.name!r} and needs {parameter.name + suffix!r} beside it ({why})",
        field=f"{path}.score",
        tensor=parameter.name,
    )


def _check_use(rules: Sequence[Rule], parameter: LogicalParameter) -> None:
    for companion, used, by in (
        (parameter.mask_bits, bool(rules), "no rule selects its parameter"),
        (parameter.custom_mask, any(isinstance(rule.score, CustomMask) for rule in rules), "no custom_mask does"),
        (parameter.scores, any(isinstance(rule.score, ImportanceScores) for rule in rules), "no importance_scores do"),
    ):
        if companion is not None and not used:
            raise MismatchError(
                Reason.UNUSED_COMPANION,
                f"nothing uses companion {companion.name!r}: {by}; leave it out, or let a rule use it",
                tensor=companion.name,
            )
