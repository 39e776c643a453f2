"""The story on one page: read the specs, plan, prune parameter after parameter, assemble the result.

`prune_state_dict` tells it for a whole state dict; `Pruning` for parameters that arrive one by one, as they do in a
stream.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TypeVar

import torch

from pruning_engine.backend import Backend
from pruning_engine.backends import backend_for
from pruning_engine.dtypes import name_of
from pruning_engine.errors import Reason, RecipeError
from pruning_engine.parameters import ORIG
from pruning_engine.plan import Plan, PlannedParameter, TensorSpec, make_plan
from pruning_engine.ranking import ChannelRanking, EntryRanking, Ranked, make_ranking
from pruning_engine.recipe import CustomMask, Identity, OutputForm, Prior, Recipe, Scope
from pruning_engine.report import Report, TensorReport
from pruning_engine.schedule import Leave, Reach, Run, Schedule
from pruning_engine.selection import DEFAULT, Tuning
from pruning_engine.ties import Ties, find_ties
from pruning_engine.work import Work

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
    the tensors are. A recipe without a seed gets 64 bits from torch's default generator.

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
    return _prune(state_dict, recipe, device, OutputForm(output), in_place=True)


class Pruning:
    """Carries out a plan on parameters that arrive one by one, in any order.

    Rules of local scope run at once; one of global scope waits for all tensors that it selects. With `in_place` the
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
        chains = [planned.rules for planned in plan.parameters]
        barriers = [position for position, rule in enumerate(plan.recipe.rules) if rule.scope is Scope.GLOBAL]
        self._schedule = Schedule(chains, barriers)
        self._waiting: dict[int, EntryRanking | ChannelRanking] = {}
        self._works: dict[int, Work] = {}
        self._reports: dict[int, TensorReport] = {}
        self._seconds = {"select": 0.0, "apply": 0.0}

    def add(self, parameter: Parameter) -> list[PrunedParameter]:
        """Take a parameter; give those that have now left their last rule: perhaps none, perhaps many.

        Raises: CheckpointError for NaN and for masks that are not 0 and 1; MismatchError for a count above what is
            still unpruned.
        """
        planned = parameter.planned
        if planned.passes_through:
            tensors = {result.name: parameter.tensors[result.name] for result in planned.results}
            return [PrunedParameter(planned, tensors, None)]
        index = self._indices[planned.name]
        with self._timed("select"):
            self._works[index] = self._begin(parameter)
        left = []
        for step in self._schedule.add(index):
            match step:
                case Reach(rule=position, parameter=member):
                    with self._timed("select"):
                        self._reach(position, member)
                case Run(rule=position, parameters=members):
                    with self._timed("select"):
                        self._run(position, members)
                case Leave(parameter=member):
                    with self._timed("apply"):
                        left.append(self._leave(member))
        return left

    def report(self) -> Report:
        """Give what was done; to be asked after all parameters of the plan were added."""
        return Report(
            tensors=tuple(self._reports[index] for index in sorted(self._reports)),
            seconds={**self._seconds, "prune": sum(self._seconds.values())},
            device=str(self._backend.device),
            seed=self._seed,
            reproducible=self._plan.reproducible,
        )

    def _begin(self, parameter: Parameter) -> Work:
        rules = self._plan.recipe.rules
        counts_zeros = any(rules[position].prior is Prior.ZEROS for position in parameter.planned.rules)
        return Work(parameter.planned, parameter.tensors, self._backend, counts_zeros=counts_zeros)

    def _reach(self, position: int, member: int) -> None:
        if position not in self._waiting:
            planned = self._plan.parameters
            selected = tuple(index for index, each in enumerate(planned) if position in each.rules)
            self._waiting[position] = self._ranking(position, selected)
        self._waiting[position].reach(self._works[member])

    def _run(self, position: int, members: tuple[int, ...]) -> None:
        rule = self._plan.recipe.rules[position]
        if isinstance(rule.score, CustomMask | Identity):
            self._run_unranked(position, self._works[members[0]])
            return
        if rule.scope is Scope.LOCAL:
            ranking = self._ranking(position, members)
            ranking.reach(self._works[members[0]])
        else:
            ranking = self._waiting.pop(position)
        works = [self._works[member] for member in members]
        ranking.run(sorted(works, key=lambda work: work.planned.name.encode()))

    def _run_unranked(self, position: int, work: Work) -> None:
        rule = self._plan.recipe.rules[position]
        if rule.prior is Prior.ZEROS:
            work.drop_zeros()
        if isinstance(rule.score, CustomMask):
            work.drop_custom()

    def _ranking(self, position: int, members: tuple[int, ...]) -> EntryRanking | ChannelRanking:
        ranked = Ranked(
            rule=self._plan.recipe.rules[position],
            position=position,
            seed=self._seed,
            members=tuple(self._plan.parameters[member] for member in members),
            tuning=self._tuning,
        )
        return make_ranking(ranked, self._backend)

    def _leave(self, member: int) -> PrunedParameter:
        work = self._works.pop(member)
        report = work.report() if work.planned.rules else None
        if report is not None:
            self._reports[member] = report
        return PrunedParameter(work.planned, work.results(self._plan.output, in_place=self._in_place), report)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        begin = perf_counter()
        try:
            yield
        finally:
            self._seconds[stage] += perf_counter() - begin


def _prune(
    state_dict: Mapping[str, Value],
    recipe: Recipe,
    device: torch.device | str | None,
    output: OutputForm,
    *,
    in_place: bool,
) -> PruneResult:
    tensors = {name: value for name, value in state_dict.items() if isinstance(value, torch.Tensor)}
    ties = find_ties(tensors)
    specs = [spec_of(name, tensor) for name, tensor in tensors.items() if name not in ties.dropped]
    plan = make_plan(_seeded(recipe), specs, output=output, aliases=ties.aliases)
    pruning = Pruning(plan, device=device if device is not None else _device_of(tensors), in_place=in_place)
    left: list[PrunedParameter] = []
    for planned in plan.parameters:
        left += pruning.add(Parameter(planned, {name: tensors[name] for name in planned.sources}))
    results = {pruned.planned.weight: pruned for pruned in left}
    return PruneResult(_assemble(state_dict, results, ties, output), pruning.report())


def spec_of(name: str, tensor: torch.Tensor) -> TensorSpec:
    """Give the spec of a tensor."""
    return TensorSpec(name, name_of(tensor.dtype), tuple(tensor.shape))


def _seeded(recipe: Recipe) -> Recipe:
    if recipe.seed is not None:
        return recipe
    high, low = torch.randint(2**32, (2,)).tolist()
    return replace(recipe, seed=high << 32 | low)


def _device_of(tensors: Mapping[str, torch.Tensor]) -> torch.device:
    return next((tensor.device for tensor in tensors.values() if tensor.is_cuda), torch.device("cpu"))


def _assemble(
    state_dict: Mapping[str, Value], pruned: Mapping[str, PrunedParameter], ties: Ties, output: OutputForm
) -> dict[str, object]:
    """Lay the results out in the order of the input, and tie again what was tied."""
    keeps_all = output in (OutputForm.PRUNED, OutputForm.MASKED)
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
