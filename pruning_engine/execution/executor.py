"""Carries out a plan on parameters that arrive one by one, in any order.

Imports no torch, except for a recipe that has an installed method.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter

from pruning_engine.errors import Reason, RecipeError
from pruning_engine.execution.allocated_ranking import AllocatedRanking, planned_amounts
from pruning_engine.execution.biases import compensate
from pruning_engine.execution.calibration import calibrated
from pruning_engine.execution.elimination import ranking_of
from pruning_engine.execution.layers import Layers
from pruning_engine.execution.parameter_state import ParameterState
from pruning_engine.execution.parameters import ReceivedParameter
from pruning_engine.execution.report_warnings import warnings_about
from pruning_engine.execution.scan import curve
from pruning_engine.granularities.ranking import Ranking, RankingContext
from pruning_engine.kernels.backend import Backend
from pruning_engine.kernels.devices import backend_for
from pruning_engine.planning.plan import Plan, PlannedParameter
from pruning_engine.planning.scheduler import Arrive, Finish, Run, Schedule, Step
from pruning_engine.planning.units.kept_counts import nothing_removed_warnings
from pruning_engine.recipe import Kept, Method, OutputForm, Rule, Scope
from pruning_engine.report import GroupReport, ModelTotals, Report, TensorReport
from pruning_engine.runtime.clear_in_steps import clear_in_steps
from pruning_engine.runtime.threads import in_parallel
from pruning_engine.scores.installed_methods import make_method, method_class
from pruning_engine.selection.outcome import Outcome


class Pruning:
    """One plan being carried out.

    Rules of local scope run at once; one of global scope waits for all tensors that it selects, one of units for all
    that are decided together, and an update of biases for each weight and its bias. With `in_place` the weights' own
    memory may be overwritten. `device` is named as torch names it; `backend`, which computes there, changes speed,
    never results. With `counts_zeros` the report has the zeros of the whole model, which takes one more pass over it.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        device: str = "cpu",
        in_place: bool = True,
        backend: Backend | None = None,
        counts_zeros: bool = False,
    ) -> None:
        if plan.recipe.seed is None:
            raise RecipeError(Reason.INVALID_RECIPE, "a recipe needs its seed before it is carried out", field="seed")
        self._plan = plan
        self._seed = plan.recipe.seed
        self._amounts = planned_amounts(plan)
        self._changes_weights = any(rule.changes_weights for rule in plan.recipe.rules)
        self._in_place = in_place
        self._counts_zeros = counts_zeros
        self._zeros_before: int | None = 0 if counts_zeros else None
        self._zeros: int | None = 0 if counts_zeros else None
        self._backend = backend if backend is not None else backend_for(device)
        self._indices = {planned.name: index for index, planned in enumerate(plan.parameters)}
        chains = [planned.stages for planned in plan.parameters]
        barriers = [number for number, stage in enumerate(plan.stages) if stage.is_barrier]
        self._schedule = Schedule(chains, barriers)
        together = {barrier: self._schedule.members(barrier) for barrier in barriers}
        # Barriers of the same parameters share one tuple of them: a recipe may have 100 rules for 100,000 tensors.
        members = {indices: tuple(plan.parameters[index] for index in indices) for indices in set(together.values())}
        ranked = [barrier for barrier in barriers if plan.stages[barrier].bias is None]
        self._waiting = {barrier: self._ranking(barrier, members[together[barrier]]) for barrier in ranked}
        self._methods = {
            position: method_class(rule.score.name, f"rules[{position}].score.method.name")
            for position, rule in enumerate(plan.recipe.rules)
            if isinstance(rule.score, Method)
        }
        self._layers = Layers(plan.parameters)
        self._received: dict[int, ReceivedParameter] = {}
        self._states: dict[int, ParameterState] = {}
        self._reports: dict[int, TensorReport] = {}
        self._groups: list[GroupReport] = []
        self._seconds = 0.0

    def add(self, parameter: ReceivedParameter) -> list[ParameterState]:
        """Take a parameter; return those that have now left their last rule: perhaps none, perhaps many.

        Raises: CheckpointError for NaN and for masks that are not 0 and 1; MismatchError for a count above what is
            still unpruned.
        """
        return self.add_all([parameter])

    def add_all(self, parameters: Sequence[ReceivedParameter]) -> list[ParameterState]:
        """Take several parameters as `add` does, side by side where no rule of global scope separates them."""
        begin = perf_counter()
        finished: list[ParameterState] = []
        chains: dict[int, list[Step]] = {}
        for parameter in parameters:
            if parameter.planned.passes_through:
                finished.append(self._finished(self._state(parameter)))
                continue
            index = self._indices[parameter.planned.name]
            self._received[index] = parameter
            for step in self._schedule.add(index):
                if isinstance(step, Run) and self._plan.stages[step.stage].is_barrier:
                    finished += self._walk(chains)
                    self._run_barrier(step)
                else:
                    member = step.parameters[0] if isinstance(step, Run) else step.parameter
                    chains.setdefault(member, []).append(step)
        finished += self._walk(chains)
        self._add_zeros(finished)
        self._seconds += perf_counter() - begin
        return finished

    def report(self) -> Report:
        """Return what was done; call it after all parameters of the plan were added."""
        indices = sorted(self._reports)
        tensors = tuple(self._reports[index] for index in indices)
        parameters = [self._plan.parameters[index] for index in indices]
        groups, known = self._all_groups(), {group.rule for group in self._plan.groups if group.kept}
        ranked = [group for group in groups if group.rule not in known and self._counts_kept(group)]
        warnings = (
            *warnings_about(self._plan.recipe.rules, parameters, tensors),
            *nothing_removed_warnings(ranked),
        )
        return Report(
            tensors=tensors,
            seconds={"prune": self._seconds},
            device=self._backend.device,
            seed=self._seed,
            reproducible=self._plan.reproducible,
            groups=groups,
            model=self._totals(),
            warnings=(*self._plan.warnings, *warnings),
        )

    def _counts_kept(self, group: GroupReport) -> bool:
        """Whether the rule of a group says how many of its units are kept."""
        return isinstance(self._plan.recipe.rules[group.rule].amount, Kept)

    def _totals(self) -> ModelTotals:
        """Return the totals of the model; what is left out before any data is not looked at, and counts as zero."""
        left_out = self._plan.model.entries - sum(planned.entries for planned in self._plan.parameters)
        before = None if left_out else self._zeros_before
        zeros = None if self._zeros is None else self._zeros + left_out
        return replace(self._plan.model, zeros_before=before, zeros=zeros)

    def _all_groups(self) -> tuple[GroupReport, ...]:
        """Return the groups in the order of rules and names; those that were known before all else as they were."""
        known = self._plan.surgery.groups
        names = {(group.rule, group.name) for group in known}
        others = [group for group in self._groups if (group.rule, group.name) not in names]
        return tuple(sorted([*known, *others], key=lambda group: (group.rule, group.name.encode())))

    def _state(self, received: ReceivedParameter) -> ParameterState:
        return ParameterState(received, self._backend, make_layer=self._layers.of, counts_all_zeros=self._counts_zeros)

    def _add_zeros(self, finished: Sequence[ParameterState]) -> None:
        """Add to the zeros of the model; once some cannot be counted, the sum is not known."""
        for state in finished:
            if self._zeros_before is not None and self._zeros is not None:
                self._zeros_before = None if state.zeros_before is None else self._zeros_before + state.zeros_before
                self._zeros = None if state.zeros is None else self._zeros + state.zeros

    def _walk(self, chains: dict[int, list[Step]]) -> list[ParameterState]:
        """Take the steps of several parameters, one parameter beside the other."""
        walks = list(chains.items())
        chains.clear()
        found = in_parallel(lambda walk: self._walk_one(*walk), walks)
        clear_in_steps(walks)
        finished = [state for state in found if state is not None]
        for state in finished:
            if state.report is not None:
                self._reports[self._indices[state.planned.name]] = state.report
        return finished

    def _walk_one(self, member: int, steps: Sequence[Step]) -> ParameterState | None:
        if member in self._received:
            self._states[member] = self._begun(self._received.pop(member))
        for step in steps:
            match step:
                case Arrive(stage=stage) if stage in self._waiting:
                    self._observe(stage, self._states[member], self._waiting[stage])
                case Run(stage=stage):
                    self._run_local(stage, self._states[member])
                case Finish():
                    return self._finished(self._states.pop(member))
        return None

    def _begun(self, received: ReceivedParameter) -> ParameterState:
        rules = [self._plan.recipe.rules[position] for position in received.planned.rules]
        state = self._state(received)
        state.begin(counts_zeros=any(map(received.planned.counts_zeros, rules)))
        return state

    def _finished(self, state: ParameterState) -> ParameterState:
        state.finish(self._plan.output, in_place=self._in_place)
        self._layers.release(state.planned)
        return state

    def _observe(self, stage: int, state: ParameterState, ranking: Ranking) -> None:
        if state.planned.counts_zeros(self._plan.recipe.rules[self._plan.stages[stage].rule]):
            state.treat_zeros_as_pruned()
        ranking.observe(state)

    def _run_local(self, stage: int, state: ParameterState) -> None:
        position = self._plan.stages[stage].rule
        rule = self._plan.recipe.rules[position]
        before = state.mask
        if state.planned.counts_zeros(rule):
            state.treat_zeros_as_pruned()
        if self._plan.output is OutputForm.SCAN:
            state.curve += curve(rule, position, state, self._plan.scan_sparsities, partial(self._decided, stage))
            state.mask = before
        else:
            self._keep(state, calibrated(rule, state, self._decided(stage, rule, state)))

    def _decided(self, stage: int, rule: Rule, state: ParameterState) -> Outcome:
        """Return what a rule of local scope decides for one parameter."""
        if rule.score.ranks:
            ranking = self._ranking(stage, (state.planned,), rule)
            ranking.observe(state)
            (outcome,) = ranking.decide([state])
            return outcome
        if isinstance(rule.score, Method):
            return self._outcome_of_method(self._plan.stages[stage].rule, rule.score, state)
        return rule.score.outcome(state)

    def _outcome_of_method(self, position: int, score: Method, state: ParameterState) -> Outcome:
        from pruning_engine.execution.installed_method import outcome_of_method  # noqa: PLC0415 - imports torch

        field = f"rules[{position}].score.method"
        method = make_method(self._methods[position], score.name, score.arguments, f"{field}.arguments")
        return outcome_of_method(state, method, field)

    def _run_barrier(self, step: Run) -> None:
        states = [self._states[member] for member in step.parameters]
        bias = self._plan.stages[step.stage].bias
        if bias is not None:
            compensate({state.planned.name: state for state in states}, bias)
            return
        states.sort(key=lambda state: state.planned.name.encode())
        ranking = self._waiting.pop(step.stage)
        outcomes = ranking.decide(states)
        rule = self._plan.recipe.rules[self._plan.stages[step.stage].rule]
        for state, outcome in zip(states, outcomes, strict=True):
            self._keep(state, calibrated(rule, state, outcome))
        clear_in_steps(outcomes)
        self._groups += ranking.reports

    def _keep(self, state: ParameterState, outcome: Outcome) -> None:
        if outcome.weight is not None and not self._changes_weights:  # the plan has neither checked nor counted them
            raise RuntimeError(f"a rule that does not state changes_weights changed those of {state.planned.name!r}")
        state.keep(outcome)

    def _ranking(self, number: int, members: tuple[PlannedParameter, ...], rule: Rule | None = None) -> Ranking:
        stage = self._plan.stages[number]
        rule = self._plan.recipe.rules[stage.rule] if rule is None else rule
        context = RankingContext(
            score=rule.score,
            amount=self._amounts.get((stage.rule, members[0].name), rule.amount),
            is_global=rule.scope is Scope.GLOBAL,
            is_by_output_channel=rule.scope is Scope.OUTPUT_CHANNEL,
            position=stage.rule,
            seed=self._seed,
            members=members,
            groups=stage.groups,
            backend=self._backend,
            bounds=rule.bounds,
        )
        if rule.allocation is not None and rule.allocation.is_barrier:
            return AllocatedRanking(rule, context)
        return ranking_of(rule, context)
