"""Stages at work on one parameter after the other: what a plan does between the arrival of a parameter and its end."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, TypeAlias

from pruning_engine.errors import Reason, RecipeError
from pruning_engine.execution.allocated_ranking import AllocatedRanking, planned_amounts
from pruning_engine.execution.calibration import calibrated
from pruning_engine.execution.elimination import ranking_of
from pruning_engine.execution.layers import Layers
from pruning_engine.execution.parameter_state import ParameterState
from pruning_engine.execution.parameters import ReceivedParameter
from pruning_engine.execution.scan import curve
from pruning_engine.granularities.ranking import Ranking, RankingContext
from pruning_engine.granularities.rankings.entry_search import NO_OPTIONS, EntrySearch, SearchOptions
from pruning_engine.kernels.backend import Backend
from pruning_engine.planning.plan import Plan, PlannedParameter
from pruning_engine.recipe import Method, OutputForm, Rule, Scope
from pruning_engine.scores.installed_methods import make_method, method_class
from pruning_engine.selection.cut_search import Cut
from pruning_engine.selection.outcome import Outcome

KnownCuts: TypeAlias = Mapping[int, EntrySearch]
"""Searches that have found their cut, by the number of the stage."""

NOTHING_KNOWN: Final[KnownCuts] = {}


class StageRunner:
    """The stages of one plan on one device. `backend`, which computes there, changes speed, never results.

    `known`: the stages of global scope whose cut is known already, by their numbers; they run as local ones do.
    `parameters`: those of the plan that come; None: all.
    """

    def __init__(
        self,
        plan: Plan,
        backend: Backend,
        *,
        counts_zeros: bool,
        known: KnownCuts = NOTHING_KNOWN,
        parameters: Sequence[PlannedParameter] | None = None,
    ) -> None:
        if plan.recipe.seed is None:
            raise RecipeError(Reason.INVALID_RECIPE, "a recipe needs its seed before it is carried out", field="seed")
        self.backend = backend
        self._plan = plan
        self.seed = plan.recipe.seed
        self._counts_zeros = counts_zeros
        self._known = known
        self._amounts = planned_amounts(plan)
        self._changes_weights = any(rule.changes_weights for rule in plan.recipe.rules)
        self._methods = {
            position: method_class(rule.score.name, f"rules[{position}].score.method.name")
            for position, rule in enumerate(plan.recipe.rules)
            if isinstance(rule.score, Method)
        }
        self._layers = Layers(plan.parameters if parameters is None else parameters)

    def is_barrier(self, stage: int) -> bool:
        """Whether parameters wait at a stage for all that have it."""
        return self._plan.stages[stage].is_barrier and stage not in self._known

    def state(self, received: ReceivedParameter) -> ParameterState:
        """Return a parameter that has arrived, not begun yet."""
        return ParameterState(received, self.backend, make_layer=self._layers.of, counts_all_zeros=self._counts_zeros)

    def begun(self, received: ReceivedParameter) -> ParameterState:
        """Return a parameter whose rules may act. Raises: CheckpointError for a mask that is not 0 and 1."""
        rules = [self._plan.recipe.rules[position] for position in received.planned.rules]
        state = self.state(received)
        state.begin(counts_zeros=any(map(received.planned.counts_zeros, rules)))
        return state

    def release(self, planned: PlannedParameter) -> None:
        """Free what was computed from the statistics of a parameter, unless others use it."""
        self._layers.release(planned)

    def counts_zeros(self, stage: int, planned: PlannedParameter) -> bool:
        """Whether zeros of a parameter count as pruned at a stage."""
        return planned.counts_zeros(self._rule(stage))

    def prepare(self, stage: int, state: ParameterState) -> None:
        """Do what comes before a stage looks at a parameter."""
        if self.counts_zeros(stage, state.planned):
            state.treat_zeros_as_pruned()

    def run(self, stage: int, state: ParameterState) -> None:
        """Run a stage for which a parameter need not wait. Raises: CheckpointError, MismatchError."""
        rule = self._rule(stage)
        before = state.mask
        self.prepare(stage, state)
        if self._plan.output is OutputForm.SCAN:
            position = self._plan.stages[stage].rule
            state.curve += curve(rule, position, state, self._plan.scan_sparsities, partial(self._decided, stage))
            state.mask = before
        else:
            self.keep(stage, state, self._decided(stage, rule, state))

    def keep(self, stage: int, state: ParameterState, outcome: Outcome) -> None:
        """Apply what a stage has decided for a parameter, with the swaps and the update of its rule."""
        outcome = calibrated(self._rule(stage), state, outcome)
        if outcome.weight is not None and not self._changes_weights:  # the plan has neither checked nor counted them
            raise RuntimeError(f"a rule that does not state changes_weights changed those of {state.planned.name!r}")
        state.keep(outcome)

    def ranking(self, stage: int, members: tuple[PlannedParameter, ...], rule: Rule | None = None) -> Ranking:
        """Return a stage at work on parameters that compete. `rule`: instead of its own."""
        rule = self._rule(stage) if rule is None else rule
        context = self._context(stage, members, rule)
        if rule.allocation is not None and rule.allocation.is_barrier:
            return AllocatedRanking(rule, context)
        return ranking_of(rule, context)

    def search(self, stage: int, *, cut: Cut | None = None, options: SearchOptions = NO_OPTIONS) -> EntrySearch:
        """Return the search for the cut of a stage of global scope, among all parameters of the plan."""
        rule = self._rule(stage)
        members = tuple(parameter for parameter in self._plan.parameters if stage in parameter.stages)
        context = self._context(stage, members, rule)
        return EntrySearch(rule.granularity, context, cut=cut, options=options)

    def _rule(self, stage: int) -> Rule:
        return self._plan.recipe.rules[self._plan.stages[stage].rule]

    def _context(self, number: int, members: tuple[PlannedParameter, ...], rule: Rule) -> RankingContext:
        stage = self._plan.stages[number]
        return RankingContext(
            score=rule.score,
            amount=self._amounts.get((stage.rule, members[0].name), rule.amount) if members else rule.amount,
            is_global=rule.scope is Scope.GLOBAL,
            is_by_output_channel=rule.scope is Scope.OUTPUT_CHANNEL,
            position=stage.rule,
            seed=self.seed,
            members=members,
            groups=stage.groups,
            backend=self.backend,
            bounds=rule.bounds,
        )

    def _decided(self, stage: int, rule: Rule, state: ParameterState) -> Outcome:
        """Return what a rule decides for one parameter that need not wait for others."""
        if stage in self._known:
            return self._known[stage].outcome(state)
        if rule.score.ranks:
            ranking = self.ranking(stage, (state.planned,), rule)
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
