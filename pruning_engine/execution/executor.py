"""Carries out a plan on parameters that arrive one by one, in any order.

Imports no torch, except for a recipe that has an installed method.
"""

from collections.abc import Sequence
from time import perf_counter

from pruning_engine.execution.biases import compensate
from pruning_engine.execution.parameter_state import ParameterState
from pruning_engine.execution.parameters import ReceivedParameter
from pruning_engine.execution.stage_runner import NOTHING_KNOWN, KnownCuts, StageRunner
from pruning_engine.execution.whole_report import Done, whole_report
from pruning_engine.kernels.backend import Backend
from pruning_engine.kernels.devices import backend_for
from pruning_engine.planning.plan import Plan, PlannedParameter
from pruning_engine.planning.scheduler import Arrive, Finish, Run, Schedule, Step
from pruning_engine.report import GroupReport, Report, TensorReport
from pruning_engine.runtime.clear_in_steps import clear_in_steps
from pruning_engine.runtime.threads import in_parallel


class Pruning:
    """One plan being carried out.

    Rules of local scope run at once; one of global scope waits for all tensors that it selects, one of units for all
    that are decided together, and an update of biases for each weight and its bias. With `in_place` the weights' own
    memory may be overwritten. `backend` computes: None is the CPU. It changes speed, never results. With `counts_zeros`
    the report has the zeros of the whole model, which takes one more pass over it. `known`: of stages of global scope
    whose cut was found in earlier readings, so that no parameter waits there; see `readings`. `parameters`: those that
    come, with all that are decided together with them, in the plan's order; None: all. What was done to some is `done`;
    the `report` is of all.
    """

    def __init__(  # noqa: PLR0913 - by keyword, and most callers name one
        self,
        plan: Plan,
        *,
        in_place: bool = True,
        backend: Backend | None = None,
        counts_zeros: bool = False,
        known: KnownCuts = NOTHING_KNOWN,
        parameters: Sequence[PlannedParameter] | None = None,
    ) -> None:
        backend = backend_for("cpu") if backend is None else backend
        self._runner = StageRunner(plan, backend, counts_zeros=counts_zeros, known=known, parameters=parameters)
        self._plan = plan
        parameters = plan.parameters if parameters is None else parameters
        self._parameters = parameters
        self._in_place = in_place
        self._zeros_before: int | None = 0 if counts_zeros else None
        self._zeros: int | None = 0 if counts_zeros else None
        self._indices = {planned.name: index for index, planned in enumerate(parameters)}
        chains = [planned.stages for planned in parameters]
        barriers = [number for number in range(len(plan.stages)) if self._runner.is_barrier(number)]
        self._schedule = Schedule(chains, barriers)
        together = {barrier: self._schedule.members(barrier) for barrier in barriers}
        # Barriers of the same parameters share one tuple of them: a recipe may have 100 rules for 100,000 tensors.
        members = {indices: tuple(parameters[index] for index in indices) for indices in set(together.values())}
        ranked = [barrier for barrier in barriers if plan.stages[barrier].bias is None and together[barrier]]
        self._waiting = {barrier: self._runner.ranking(barrier, members[together[barrier]]) for barrier in ranked}
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
                finished.append(self._finished(self._runner.state(parameter)))
                continue
            index = self._indices[parameter.planned.name]
            self._received[index] = parameter
            for step in self._schedule.add(index):
                if isinstance(step, Run) and self._runner.is_barrier(step.stage):
                    finished += self._walk(chains)
                    self._run_barrier(step)
                else:
                    member = step.parameters[0] if isinstance(step, Run) else step.parameter
                    chains.setdefault(member, []).append(step)
        finished += self._walk(chains)
        self._add_zeros(finished)
        self._seconds += perf_counter() - begin
        return finished

    @property
    def done(self) -> Done:
        """What was done to the parameters that have left so far."""
        return Done(
            tensors={self._parameters[index].name: report for index, report in self._reports.items()},
            groups=self._groups,
            zeros_before=self._zeros_before,
            zeros=self._zeros,
            seconds=self._seconds,
        )

    def report(self) -> Report:
        """Return what was done; call it after all parameters of the plan were added."""
        return whole_report(self._plan, self.done, self._runner.backend.device)

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
            self._states[member] = self._runner.begun(self._received.pop(member))
        for step in steps:
            match step:
                case Arrive(stage=stage) if stage in self._waiting:
                    self._runner.prepare(stage, self._states[member])
                    self._waiting[stage].observe(self._states[member])
                case Run(stage=stage):
                    self._runner.run(stage, self._states[member])
                case Finish():
                    return self._finished(self._states.pop(member))
        return None

    def _finished(self, state: ParameterState) -> ParameterState:
        state.finish(self._plan.output, in_place=self._in_place)
        self._runner.release(state.planned)
        return state

    def _run_barrier(self, step: Run) -> None:
        states = [self._states[member] for member in step.parameters]
        bias = self._plan.stages[step.stage].bias
        if bias is not None:
            compensate({state.planned.name: state for state in states}, bias)
            return
        states.sort(key=lambda state: state.planned.name.encode())
        ranking = self._waiting.pop(step.stage)
        outcomes = ranking.decide(states)
        for state, outcome in zip(states, outcomes, strict=True):
            self._runner.keep(step.stage, state, outcome)
        clear_in_steps(outcomes)
        self._groups += ranking.reports
