"""What will be done, from names, dtypes and shapes alone: everything that can be refused without data is refused here.

A plan holds each logical parameter with the rules that select it and the tensors that it leaves as. It holds no
data; `prune.py` carries it out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from pruning_engine import recipe as recipes
from pruning_engine.checkpoints.parameters import LogicalParameter, TensorSpec, bits_bytes, logical_parameters
from pruning_engine.errors import MismatchError, Reason
from pruning_engine.norm import is_reproducible
from pruning_engine.planning import checks as plan_checks
from pruning_engine.planning.group_resolution import find_groups, refuse_shared
from pruning_engine.planning.memory import Footprint, MemoryStep, memory_profile
from pruning_engine.planning.name_patterns import NotSelected, compile_selector
from pruning_engine.planning.stages import Groups, Stage, Stages
from pruning_engine.recipe import (
    Channels,
    ImportanceScores,
    Magnitude,
    Method,
    OutputForm,
    Prior,
    Recipe,
    Rule,
    Selector,
    Units,
)
from pruning_engine.runtime.emptying import empty
from pruning_proto.names import MASK, MASK_BITS, ORIG

__all__ = ["NotSelected", "Plan", "PlannedParameter", "TensorSpec", "make_plan"]

_CHANNEL_BYTES: Final = 40
"""What each of the channels that compete takes: its norm, its place, and both again while the least are chosen."""

_NO_ALIASES: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedParameter:
    """One logical parameter: what it is made of, which rules act on it, what it leaves as.

    `rules` are positions in the recipe; if there are none, `not_selected` says why. `sources` names every input
    tensor that makes it up; `weight`, `mask` (of a pair `w_orig` and `w_mask`), `mask_bits`, `custom_mask` and
    `scores` say which is which. `passes_through`: its results are its sources, byte for byte, or it has none.
    `stages` are positions among the plan's. In form REMOVED `results` have the shapes that they have if nothing falls.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    entries: int
    aliases: tuple[str, ...]
    rules: tuple[int, ...]
    stages: tuple[int, ...]
    not_selected: NotSelected | None
    sources: tuple[str, ...]
    results: tuple[TensorSpec, ...]
    passes_through: bool
    weight: str
    mask: str | None
    mask_bits: str | None
    custom_mask: str | None
    scores: str | None
    scores_dtype: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will be done with each parameter, in the order of the input, and what it takes.

    `stages` are what parameters come to, in order: the rules, and of rules of units the groups that are decided
    together. `memory_profile`: what is held as the tensors arrive in the given order. `results`: the tensors of the
    result, in order. `reproducible`: the same request gives the same bytes on every device.
    """

    recipe: Recipe
    output: OutputForm
    parameters: tuple[PlannedParameter, ...]
    stages: tuple[Stage, ...]
    results: tuple[TensorSpec, ...]
    memory_profile: tuple[MemoryStep, ...]
    reproducible: bool

    @property
    def peak_bytes(self) -> int:
        """The most bytes of tensors held at one time."""
        return max((moment.held_bytes for moment in self.memory_profile), default=0)


def make_plan(
    recipe: Recipe,
    tensors: Sequence[TensorSpec],
    *,
    output: OutputForm = OutputForm.PRUNED,
    aliases: Mapping[str, str] = _NO_ALIASES,
) -> Plan:
    """Plan a recipe for the tensors of a checkpoint. `aliases`: another name -> the name that is among the tensors.

    Raises: RecipeError if the recipe makes no sense; MismatchError if it does not fit the tensors.
    """
    recipes.check(recipe)
    plan_checks.check_methods(recipe)
    plan_checks.check_output(recipe, output)
    logical = logical_parameters(tensors, aliases)
    groups = _groups(recipe, logical)
    selecting = _Selecting(recipe, _tied(groups, output))
    selected = [selecting(parameter) for parameter in logical]
    _refuse_idle_rules(recipe, selected)
    check = plan_checks.ParameterChecks(recipe)
    for parameter, (rules, _) in zip(logical, selected, strict=True):
        check(parameter, rules)
    plan_checks.check_groups(recipe, groups, logical)
    plan_checks.check_counts(recipe, logical, [rules for rules, _ in selected])
    stages = Stages(recipe, groups)
    parameters = tuple(
        _planned(parameter, rules, stages.of(parameter.name, rules), reason, output)
        for parameter, (rules, reason) in zip(logical, selected, strict=True)
    )
    results = tuple(result for parameter in parameters for result in parameter.results)
    _refuse_collisions(results)
    barriers = [number for number, stage in enumerate(stages.all) if stage.is_barrier]
    holding = _Holding(recipe, groups)
    held = [holding(parameter, planned) for parameter, planned in zip(logical, parameters, strict=True)]
    plan = Plan(
        recipe=recipe,
        output=output,
        parameters=parameters,
        stages=tuple(stages.all),
        results=results,
        memory_profile=tuple(memory_profile(held, tensors, barriers)),
        reproducible=all(_is_reproducible(rule) for rule in recipe.rules),
    )
    empty(logical, selected, held)
    return plan


def _groups(recipe: Recipe, parameters: Sequence[LogicalParameter]) -> Groups:
    """Find the groups of each rule of units. Raises: MismatchError."""
    found = {
        position: find_groups(rule.granularity, parameters, f"rules[{position}].granularity.units")
        for position, rule in enumerate(recipe.rules)
        if isinstance(rule.granularity, Units)
    }
    if len(found) > 1:  # the same group may stand in several rules, another one of the same units may not
        different = {group.place: group for groups in found.values() for group in groups}
        refuse_shared(different.values(), f"rules[{max(found)}].granularity.units")
    return found


def _tied(groups: Groups, output: OutputForm) -> Mapping[str, tuple[int, ...]]:
    """Give the rules of units that act on each parameter: on running statistics only where units go for good."""
    found: dict[str, set[int]] = {}
    for position, each in groups.items():
        for tie in (tie for group in each for tie in group.ties):
            if tie.is_zeroed or output is OutputForm.REMOVED:
                found.setdefault(tie.parameter, set()).add(position)
    return {name: tuple(sorted(positions)) for name, positions in found.items()}


class _Selecting:
    """Which rules select a parameter. Rules of equal selectors choose once: a recipe may have 100 of them."""

    def __init__(self, recipe: Recipe, tied: Mapping[str, tuple[int, ...]]) -> None:
        self._tied = tied
        positions: dict[Selector, list[int]] = {}
        for position, rule in enumerate(recipe.rules):
            if not isinstance(rule.granularity, Units):
                positions.setdefault(rule.select, []).append(position)
        self._positions = list(positions.values())
        self._choices = [compile_selector(select, f"rules[{at[0]}].select") for select, at in positions.items()]
        self._rules: dict[tuple[bool, ...], tuple[int, ...]] = {}

    def __call__(self, parameter: LogicalParameter) -> tuple[tuple[int, ...], NotSelected | None]:
        """The rules that select a parameter; if none does, the first reason that says more than its name."""
        weight = parameter.weight
        refusals = [choice.refuses(parameter.names, weight.dtype, len(weight.shape)) for choice in self._choices]
        rules = self._of(tuple(refusal is None for refusal in refusals))
        if parameter.name in self._tied:
            rules = tuple(sorted({*rules, *self._tied[parameter.name]}))
        if rules:
            return rules, None
        telling = (refusal for refusal in refusals if refusal is not NotSelected.NAME)
        return (), next(telling, NotSelected.NAME)

    def _of(self, selects: tuple[bool, ...]) -> tuple[int, ...]:
        """The rules of the selectors that select; the same object for all parameters of the same rules."""
        if selects not in self._rules:
            groups = zip(self._positions, selects, strict=True)
            self._rules[selects] = tuple(sorted(at for group, is_selected in groups if is_selected for at in group))
        return self._rules[selects]


def _refuse_idle_rules(recipe: Recipe, selected: Sequence[tuple[tuple[int, ...], NotSelected | None]]) -> None:
    acting = {position for rules in {rules for rules, _ in selected} for position in rules}
    for position, rule in enumerate(recipe.rules):
        if position not in acting and not isinstance(rule.granularity, Units):
            patterns = f"include {list(rule.select.include)}" if rule.select.include else "the default selection"
            raise MismatchError(
                Reason.SELECTS_NOTHING,
                f"rules[{position}].select selects none of the {len(selected)} parameters ({patterns}, "
                f"exclude {list(rule.select.exclude)}); name tensors of the checkpoint",
                field=f"rules[{position}].select",
            )


def _planned(
    parameter: LogicalParameter,
    rules: tuple[int, ...],
    stages: tuple[int, ...],
    reason: NotSelected | None,
    output: OutputForm,
) -> PlannedParameter:
    folds = parameter.pair_mask is not None and output in (OutputForm.PRUNED, OutputForm.REMOVED)
    weight = parameter.weight
    return PlannedParameter(
        name=parameter.name,
        dtype=weight.dtype,
        shape=weight.shape,
        entries=weight.entries,
        aliases=parameter.aliases,
        rules=rules,
        stages=stages,
        not_selected=reason,
        sources=tuple(spec.name for spec in parameter.tensors),
        results=_results(parameter, output, selected=bool(rules)),
        passes_through=not rules and not folds,
        weight=weight.name,
        mask=_name(parameter.pair_mask),
        mask_bits=_name(parameter.mask_bits),
        custom_mask=_name(parameter.custom_mask),
        scores=_name(parameter.scores),
        scores_dtype=parameter.scores.dtype if parameter.scores is not None else None,
    )


def _name(spec: TensorSpec | None) -> str | None:
    return spec.name if spec is not None else None


def _results(parameter: LogicalParameter, output: OutputForm, *, selected: bool) -> tuple[TensorSpec, ...]:
    name, weight, mask = parameter.name, parameter.weight, parameter.pair_mask
    match output:
        case OutputForm.PRUNED | OutputForm.REMOVED:
            return (TensorSpec(name, weight.dtype, weight.shape),)
        case OutputForm.MASKED if selected:
            return (
                TensorSpec(name + ORIG, weight.dtype, weight.shape),
                TensorSpec(name + MASK, "BOOL", weight.shape),
            )
        case OutputForm.MASKED:
            return (weight,) if mask is None else (weight, mask)
        case OutputForm.MASK if selected:
            return (TensorSpec(name + MASK_BITS, "U8", (bits_bytes(weight.entries),)),)
        case _:
            return ()


def _refuse_collisions(results: Sequence[TensorSpec]) -> None:
    seen: set[str] = set()
    for result in results:
        if result.name in seen:
            raise MismatchError(
                Reason.NAME_COLLISION,
                f"the result would have two tensors named {result.name!r}; rename the one in the checkpoint",
                tensor=result.name,
            )
        seen.add(result.name)


class _Holding:
    """What each parameter takes while it is held."""

    def __init__(self, recipe: Recipe, groups: Groups) -> None:
        self._recipe = recipe
        self._positions = _tied_positions(groups)
        self._demands: dict[tuple[int, ...], tuple[bool, frozenset[int]]] = {}

    def __call__(self, parameter: LogicalParameter, planned: PlannedParameter) -> Footprint:
        """The bytes of one parameter."""
        counts_zeros, dims = self._of(planned.rules)
        positions = self._positions.get(planned.name, 0)
        ranks = _CHANNEL_BYTES * (max((planned.shape[dim] for dim in dims), default=0) + positions)
        masks = _masks(planned, counts_zeros=counts_zeros, keeps_prior=bool(positions))
        return Footprint(
            sources=planned.sources,
            rules=planned.stages,
            source_bytes=sum(spec.nbytes for spec in parameter.tensors),
            mask_bytes=masks * bits_bytes(planned.entries) + ranks,
            result_bytes=sum(spec.nbytes for spec in planned.results),
            made_bytes=planned.entries if len(planned.results) > 1 and planned.rules else 0,
        )

    def _of(self, rules: tuple[int, ...]) -> tuple[bool, frozenset[int]]:
        """Whether one of these rules counts zeros as pruned, and the dims along which they rank channels."""
        if rules not in self._demands:
            asked = [self._recipe.rules[position] for position in rules]
            dims = frozenset(rule.granularity.dim for rule in asked if isinstance(rule.granularity, Channels))
            self._demands[rules] = any(rule.prior is Prior.ZEROS for rule in asked), dims
        return self._demands[rules]


def _tied_positions(groups: Groups) -> Mapping[str, int]:
    """Give how many positions of a parameter's dims are tied, all rules together."""
    found: dict[str, int] = {}
    for tie in (tie for each in groups.values() for group in each for tie in group.ties):
        found[tie.parameter] = found.get(tie.parameter, 0) + tie.units * tie.unit_positions
    return found


def _masks(planned: PlannedParameter, *, counts_zeros: bool, keeps_prior: bool) -> int:
    """How many packed masks of a parameter are there at one time: while a rule makes one, the one before is needed.

    `keeps_prior`: the first one is needed to the end, for units are ranked by what was sent.
    """
    if not planned.rules:
        return 0 if planned.passes_through else 1
    several = len(planned.stages) > 1 or planned.mask is not None or counts_zeros
    return (2 if several else 1) + keeps_prior


def _is_reproducible(rule: Rule) -> bool:
    if isinstance(rule.score, Method):
        return False
    if not isinstance(rule.score, Magnitude | ImportanceScores) or rule.score.norm is None:
        return True
    return is_reproducible(rule.score.norm)
