"""A plan whose rules of global scope find their cuts in readings of the parameters, so that none of these are held.

A rule of global scope needs all its tensors before it prunes one. Where they can be read again, they need not be held
until then: each reading takes the parameters one after the other, runs what comes before the rule, which gives the same
result every time, looks at what the rule compares, and releases them. Once the cut of every such rule is known, the
plan is carried out as if all were local: see `executor`.

Each rule takes two readings, the first of which may be the one in which the parameters are received.
"""

from collections.abc import Callable, Iterator

from pruning_engine.buffer import Buffer
from pruning_engine.execution.parameter_state import ParameterState
from pruning_engine.execution.parameters import ReceivedParameter
from pruning_engine.execution.stage_runner import KnownCuts, StageRunner
from pruning_engine.granularities.rankings.entry_search import Blocks, EntrySearch
from pruning_engine.kernels.backend import Backend
from pruning_engine.planning.plan import Plan, PlannedParameter
from pruning_engine.selection.cut_search import search_bytes
from pruning_proto.names import MASK_BITS


class Reading:
    """One reading of the parameters of a plan, up to one stage of global scope."""

    def __init__(self, runner: StageRunner, stage: int, look: Callable[[ParameterState], None]) -> None:
        self._runner = runner
        self._stage = stage
        self._look = look

    def needs(self, planned: PlannedParameter) -> bool:
        """Whether a parameter is looked at; others need not be read."""
        return self._stage in planned.stages

    def add(self, parameter: ReceivedParameter) -> None:
        """Take a parameter that is needed. Raises: what `Pruning.add` raises."""
        state = self._runner.begun(parameter)
        for stage in parameter.planned.stages:
            if stage == self._stage:
                break
            self._runner.run(stage, state)
        self._runner.prepare(self._stage, state)
        self._look(state)
        self._runner.release(parameter.planned)


class SampleReading(Reading):
    """The reading in which samples are drawn: of some parameters no more than `blocks` is needed."""

    def __init__(self, runner: StageRunner, stage: int, search: EntrySearch) -> None:
        super().__init__(runner, stage, search.sample)
        self._search = search

    def blocks(self, planned: PlannedParameter) -> Blocks | None:
        """Return the blocks that can be added instead of a parameter; None if all of it must be added."""
        has_mask = planned.pair_mask is not None or MASK_BITS in planned.auxiliary
        if planned.stages[0] != self._stage or has_mask or self._runner.counts_zeros(self._stage, planned):
            return None
        return self._search.blocks(planned)

    def add_blocks(self, planned: PlannedParameter, blocks: Blocks, data: Buffer) -> None:
        """Take the blocks of a parameter, one after the other."""
        self._search.sample_blocks(planned, blocks, data)
        self._runner.release(planned)


class Readings:
    """The readings that a plan needs before it can be carried out, and the cuts that they find."""

    def __init__(self, plan: Plan, backend: Backend) -> None:
        self._plan = plan
        self._backend = backend
        self._known: KnownCuts = {}

    @property
    def known(self) -> KnownCuts:
        """The cuts that have been found, by stage."""
        return self._known

    def __iter__(self) -> Iterator[Reading]:
        """Yield each reading; the next one when every parameter that it needs has been added.

        Raises: MismatchError for a count above what is still unpruned.
        """
        for stage in self._plan.searched:
            search = self._runner().search(stage)
            yield SampleReading(self._runner(), stage, search)
            search.aim()
            while not search.is_known:
                yield Reading(self._runner(), stage, search.look)
                search.settle()
            self._known = {**self._known, stage: search}

    def _runner(self) -> StageRunner:
        return StageRunner(self._plan, self._backend, counts_zeros=False, known=self._known)


def searching_bytes(plan: Plan) -> int:
    """Return about the bytes that the searches of a plan take, of which one is under way at a time."""
    entries = [sum(each.entries for each in plan.parameters if stage in each.stages) for stage in plan.searched]
    return max(map(search_bytes, entries), default=0)
