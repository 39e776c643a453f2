"""The story on one page: read the specs, plan, prune parameter after parameter, assemble the result.

`prune_state_dict` tells it for a whole state dict; `Pruning` for parameters that arrive one by one, as they do in a
stream.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TypeVar

import torch

from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.checkpoints.shared_tensors import SharedTensors, find_shared_tensors
from pruning_engine.errors import Reason, RecipeError
from pruning_engine.execution.installed_method import keep_by_method
from pruning_engine.execution.parameter_state import ParameterState
from pruning_engine.execution.rank_units import UnitRanking
from pruning_engine.execution.ranking import ChannelRanking, EntryRanking, make_ranking
from pruning_engine.execution.ranking_context import RankingContext
from pruning_engine.granularities.channel_groups import is_running_statistic
from pruning_engine.kernels.backend import Backend
from pruning_engine.kernels.devices import backend_for
from pruning_engine.modules.seeds import draw_seed
from pruning_engine.planning.plan import Plan, PlannedParameter
from pruning_engine.planning.planner import make_plan
from pruning_engine.planning.scheduler import Arrive, Finish, Run, Schedule, Step
from pruning_engine.recipe import CustomMask, Method, OutputForm, Prior, Recipe, Units
from pruning_engine.report import GroupReport, Report, TensorReport
from pruning_engine.runtime.emptying import empty
from pruning_engine.runtime.threads import in_parallel
from pruning_engine.scores.installed_methods import make_method, method_class
from pruning_engine.selection.entries import DEFAULT, Tuning
from pruning_engine.torch_tensors import name_of
from pruning_proto.names import ORIG

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A planned parameter and its tensors, by their names in the input."""

    planned: PlannedParameter
    tensors: Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class PrunedParameter:
    """A parameter as it leaves: its tensors by their names in the result, and its report if a rule selected it."""

    planned: PlannedParameter
    tensors: dict[str, torch.Tensor]
    report: TensorReport | None


@dataclass(frozen=True, slots=True)
class PruneResult:
    """A pruned state dict, in the form that was asked, and what was done."""

    state_dict: dict[str, object]
    report: Report


def prune_state_dict(
    state_dict: Mapping[str, Value],
    recipe: Recipe,
    *,
    device: torch.device | str | None = None,
    output: OutputForm | str = OutputForm.PRUNED,
) -> PruneResult:
    """Prune a state dict; the input stays as it is.

    Tensors that no rule selects are passed on as the same objects, and so are values that are no tensors (a module's
    `_extra_state`). Tied tensors are pruned once and tied again. `device` is where the selection runs; None: where
    the tensors are. Random rules without a seed get 64 bits from torch's default generator.

    Raises: RecipeError, MismatchError, CheckpointError; see errors.py.
    Example: prune_state_dict(model.state_dict(), Recipe((Rule(score=Magnitude(), amount=Fraction(0.5)),)))
    """
    return _prune(state_dict, recipe, device, OutputForm(output), in_place=False)


def prune_state_dict_(
    state_dict: Mapping[str, Value],
    recipe: Recipe,
    *,
    device: torch.device | str | None = None,
    output: OutputForm | str = OutputForm.PRUNED,
) -> PruneResult:
    """Prune a state dict's own tensors where the form is PRUNED: no memory for a second model.

    Everything else is as for `prune_state_dict`. After an error, tensors that had left their last rule stay pruned.
    """
    form = OutputForm(output)
    return _prune(state_dict, recipe, device, form, in_place=form is not OutputForm.REMOVED)


def _prune(
    state_dict: Mapping[str, Value],
    recipe: Recipe,
    device: torch.device | str | None,
    output: OutputForm,
    *,
    in_place: bool,
) -> PruneResult:
    tensors = {name: value for name, value in state_dict.items() if isinstance(value, torch.Tensor)}
    ties = find_shared_tensors(tensors)
    specs = [spec_of(name, tensor) for name, tensor in tensors.items() if name not in ties.dropped]
    plan = make_plan(_seeded(recipe), specs, output=output, aliases=ties.aliases)
    pruning = Pruning(plan, device=device if device is not None else _device_of(tensors), in_place=in_place)
    left = pruning.add_all(
        [Parameter(planned, {name: tensors[name] for name in planned.sources}) for planned in plan.parameters]
    )
    results = {pruned.planned.weight: pruned for pruned in left}
    return PruneResult(_assemble(state_dict, results, ties, output), pruning.report())


def spec_of(name: str, tensor: torch.Tensor) -> TensorSpec:
    """Give the spec of a tensor."""
    return TensorSpec(name, name_of(tensor.dtype), tuple(tensor.shape))


def _seeded(recipe: Recipe) -> Recipe:
    """Give the recipe with a seed; torch's generator is touched only where chance is needed."""
    if recipe.seed is not None:
        return recipe
    return replace(recipe, seed=draw_seed() if recipe.is_random else 0)


def _device_of(tensors: Mapping[str, torch.Tensor]) -> torch.device:
    return next((tensor.device for tensor in tensors.values() if tensor.is_cuda), torch.device("cpu"))


def _assemble(
    state_dict: Mapping[str, Value], pruned: Mapping[str, PrunedParameter], ties: SharedTensors, output: OutputForm
) -> dict[str, object]:
    """Lay the results out in the order of the input, and tie again what was tied."""
    keeps_all = output in (OutputForm.PRUNED, OutputForm.MASKED, OutputForm.REMOVED)
    result: dict[str, object] = {}
    for name, value in state_dict.items():
        if not isinstance(value, torch.Tensor):
            if keeps_all:
                result[name] = value
        elif name in pruned:
            result.update(pruned[name].tensors)
        elif name in ties.aliases and keeps_all:
            result.update(_tied(name, value, pruned[ties.aliases[name]]))
    return result


def _tied(name: str, value: torch.Tensor, pruned: PrunedParameter) -> dict[str, torch.Tensor]:
    """The results of a tensor under its other name."""
    planned = pruned.planned
    logical = name if planned.weight == planned.name else name.removesuffix(ORIG)
    if planned.passes_through and len(planned.results) == 1:
        return {name: value}
    return {logical + result.removeprefix(planned.name): tensor for result, tensor in pruned.tensors.items()}


class Pruning:
    """Carries out a plan on parameters that arrive one by one, in any order.

    Rules of local scope run at once; one of global scope waits for all tensors that it selects, and one of units for
    all that are decided together. With `in_place` the
    weights' own memory may be overwritten. `backend` and `tuning` change speed, never results.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        device: torch.device | str | None = None,
        in_place: bool = False,
        backend: Backend | None = None,
        tuning: Tuning = DEFAULT,
    ) -> None:
        if plan.recipe.seed is None:
            raise RecipeError(Reason.INVALID_RECIPE, "a recipe needs its seed before it is carried out", field="seed")
        self._plan = plan
        self._seed = plan.recipe.seed
        self._in_place = in_place
        self._backend = backend if backend is not None else backend_for(torch.device(device or "cpu"))
        self._tuning = tuning
        self._indices = {planned.name: index for index, planned in enumerate(plan.parameters)}
        chains = [planned.stages for planned in plan.parameters]
        barriers = [number for number, stage in enumerate(plan.stages) if stage.is_barrier]
        self._schedule = Schedule(chains, barriers)
        together = {barrier: self._schedule.members(barrier) for barrier in barriers}
        members = {indices: tuple(plan.parameters[index] for index in indices) for indices in set(together.values())}
        self._waiting = {barrier: self._ranking(barrier, members[together[barrier]]) for barrier in barriers}
        self._methods = {
            position: method_class(rule.score.name, f"rules[{position}].score.method.name")
            for position, rule in enumerate(plan.recipe.rules)
            if isinstance(rule.score, Method)
        }
        self._arrived: dict[int, Parameter] = {}
        self._works: dict[int, ParameterState] = {}
        self._reports: dict[int, TensorReport] = {}
        self._groups: list[GroupReport] = []
        self._seconds = 0.0

    def add(self, parameter: Parameter) -> list[PrunedParameter]:
        """Take a parameter; give those that have now left their last rule: perhaps none, perhaps many.

        Raises: CheckpointError for NaN and for masks that are not 0 and 1; MismatchError for a count above what is
            still unpruned.
        """
        return self.add_all([parameter])

    def add_all(self, parameters: Sequence[Parameter]) -> list[PrunedParameter]:
        """Take several parameters as `add` does, side by side where no rule of global scope keeps them apart."""
        begin = perf_counter()
        left: list[PrunedParameter] = []
        chains: dict[int, list[Step]] = {}
        for parameter in parameters:
            if parameter.planned.passes_through:
                left.append(_passed(parameter))
                continue
            index = self._indices[parameter.planned.name]
            self._arrived[index] = parameter
            for step in self._schedule.add(index):
                if isinstance(step, Run) and self._is_barrier(step.stage):
                    left += self._walk(chains)
                    self._run_barrier(step)
                else:
                    member = step.parameters[0] if isinstance(step, Run) else step.parameter
                    chains.setdefault(member, []).append(step)
        left += self._walk(chains)
        self._seconds += perf_counter() - begin
        return left

    def report(self) -> Report:
        """Give what was done; to be asked after all parameters of the plan were added."""
        return Report(
            tensors=tuple(self._reports[index] for index in sorted(self._reports)),
            seconds={"prune": self._seconds},
            device=str(self._backend.device),
            seed=self._seed,
            reproducible=self._plan.reproducible,
            groups=tuple(sorted(self._groups, key=lambda group: (group.rule, group.name.encode()))),
        )

    def _is_barrier(self, stage: int) -> bool:
        return self._plan.stages[stage].is_barrier

    def _walk(self, chains: dict[int, list[Step]]) -> list[PrunedParameter]:
        """Take the steps of several parameters, one parameter beside the other."""
        walks = list(chains.items())
        chains.clear()
        found = in_parallel(lambda walk: self._walk_one(*walk), walks)
        empty(walks)
        left = [pruned for pruned in found if pruned is not None]
        for pruned in left:
            if pruned.report is not None:
                self._reports[self._indices[pruned.planned.name]] = pruned.report
        return left

    def _walk_one(self, member: int, steps: Sequence[Step]) -> PrunedParameter | None:
        if member in self._arrived:
            self._works[member] = self._begin(self._arrived.pop(member))
        for step in steps:
            match step:
                case Arrive(stage=stage):
                    self._waiting[stage].observe(self._works[member])
                case Run(stage=stage):
                    self._run_local(stage, member)
                case Finish():
                    return self._leave(member)
        return None

    def _begin(self, parameter: Parameter) -> ParameterState:
        rules = self._plan.recipe.rules
        counting = [rules[position] for position in parameter.planned.rules if rules[position].prior is Prior.ZEROS]
        if is_running_statistic(parameter.planned.name):  # tied, its zeros are no sign that anything was pruned
            counting = [rule for rule in counting if not isinstance(rule.granularity, Units)]
        counts_zeros = bool(counting)
        return ParameterState(parameter.planned, parameter.tensors, self._backend, counts_zeros=counts_zeros)

    def _run_local(self, stage: int, member: int) -> None:
        position = self._plan.stages[stage].rule
        rule, work = self._plan.recipe.rules[position], self._works[member]
        if rule.score.ranks:
            ranking = self._ranking(stage, (work.planned,))
            ranking.observe(work)
            ranking.decide([work])
            return
        if rule.prior is Prior.ZEROS:
            work.treat_zeros_as_pruned()
        if isinstance(rule.score, CustomMask):
            work.apply_custom_mask()
        elif isinstance(rule.score, Method):
            field = f"rules[{position}].score.method"
            keep_by_method(
                work,
                make_method(self._methods[position], rule.score.name, rule.score.arguments, f"{field}.arguments"),
                field,
            )

    def _run_barrier(self, step: Run) -> None:
        states = [self._works[member] for member in step.parameters]
        ranking = self._waiting.pop(step.stage)
        ranking.decide(sorted(states, key=lambda work: work.planned.name.encode()))
        if isinstance(ranking, UnitRanking):
            self._groups += ranking.reports

    def _ranking(
        self, number: int, members: tuple[PlannedParameter, ...]
    ) -> EntryRanking | ChannelRanking | UnitRanking:
        stage = self._plan.stages[number]
        ranked = RankingContext(
            rule=self._plan.recipe.rules[stage.rule],
            position=stage.rule,
            seed=self._seed,
            members=members,
            tuning=self._tuning,
        )
        return UnitRanking(ranked, stage.groups, self._backend) if stage.groups else make_ranking(ranked, self._backend)

    def _leave(self, member: int) -> PrunedParameter:
        work = self._works.pop(member)
        report = work.report() if work.planned.rules else None
        return PrunedParameter(work.planned, work.results(self._plan.output, in_place=self._in_place), report)


def _passed(parameter: Parameter) -> PrunedParameter:
    results = parameter.planned.results
    return PrunedParameter(parameter.planned, {result.name: parameter.tensors[result.name] for result in results}, None)
