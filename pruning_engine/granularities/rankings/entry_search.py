"""Entries of several tensors that compete and cannot be held together: they come again until their cut is known."""

import secrets
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from pruning_engine.buffer import Buffer
from pruning_engine.dtypes import element_bits
from pruning_engine.granularities.granularity import Granularity
from pruning_engine.granularities.ranking import RankingContext
from pruning_engine.kernels.backend import Candidates
from pruning_engine.kernels.magnitude_keys import magnitude_of
from pruning_engine.kernels.packed_mask import PackedMask
from pruning_engine.kernels.random_keys import key_of
from pruning_engine.scores.parameters import ArrivedParameter, DescribedParameter
from pruning_engine.scores.score import Score
from pruning_engine.selection.cut_search import Cut, CutSearch
from pruning_engine.selection.entries import NanKeyError, Tuning
from pruning_engine.selection.outcome import Outcome
from pruning_engine.selection.samples import BLOCKS, BlockTuning


@dataclass(frozen=True, slots=True)
class Blocks:
    """Blocks of one of a parameter's tensors: its name and dtype, and where each begins and ends in its bytes."""

    tensor: str
    dtype: str
    spans: tuple[tuple[int, int], ...]
    nbytes: int = 0

    @property
    def size(self) -> int:
        """The bytes of all blocks."""
        return sum(end - begin for begin, end in self.spans)

    def buffer(self, data: npt.NDArray[np.uint8]) -> Buffer:
        """Return their bytes, one block after the other, as a flat tensor."""
        return Buffer.from_bytes(data, self.dtype, (self.size * 8 // element_bits(self.dtype),))


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """How a search is done, whatever is searched.

    `tuning`: None is that of all selections. `layout`: of the blocks that stand for tensors. `is_repeatable`: samples
    are the same every time; otherwise nobody can foresee them.
    """

    tuning: Tuning | None = None
    layout: BlockTuning = BLOCKS
    is_repeatable: bool = False


NO_OPTIONS: Final = SearchOptions()


class EntrySearch:
    """What `EntryRanking` decides, found one tensor at a time.

    First `sample` every parameter, then `aim`; until the cut `is_known`, `look` into every parameter, then `settle`.
    Of parameters that have `blocks` these can be sampled instead. Afterwards `outcome` prunes each. `cut`: the search
    is over, here or elsewhere. `progress` can be shared with searches that sample, and look into, other parameters of
    the same rule.
    """

    def __init__(
        self,
        granularity: Granularity,
        context: RankingContext,
        *,
        cut: Cut | None = None,
        options: SearchOptions = NO_OPTIONS,
    ) -> None:
        self._granularity = granularity
        self._context = context
        self._scoring = context.scoring()
        self._entries = sum(member.entries for member in context.members)
        self.progress = CutSearch(self._entries, options.tuning)
        self._options = options
        ranked = [_ranked(context.score, member) for member in context.members]
        self._block_bytes = options.layout.block_bytes(sum(each.nbytes for each in ranked if each is not None))
        self.cut = cut

    @property
    def is_known(self) -> bool:
        """Whether the cut is known."""
        return self.cut is not None

    def sample(self, parameter: ArrivedParameter) -> None:
        """Draw the sample of a parameter."""
        context = self._context
        name = parameter.planned.name
        seed = key_of(context.seed, context.position, name) if self._options.is_repeatable else None
        self.progress.sample(self._candidates(parameter), seed)

    def blocks(self, planned: DescribedParameter) -> Blocks | None:
        """Return the blocks of a parameter that can be sampled instead of all of it; None if all of it is needed.

        Only for one of which nothing has been pruned before.
        """
        score, context = self._context.score, self._context
        if score.is_random:  # the keys are known
            return Blocks(planned.weight, planned.dtype, ())
        ranked = _ranked(score, planned)
        if ranked is None or ranked.nbytes < self._options.layout.whole_bytes:
            return None
        is_repeatable, layout = self._options.is_repeatable, self._options.layout
        key = key_of(context.seed, context.position, planned.name) if is_repeatable else secrets.randbits(64)
        return replace(ranked, spans=layout.spans(ranked.nbytes, self._block_bytes, key))

    def sample_blocks(self, planned: DescribedParameter, blocks: Blocks, data: Buffer) -> None:
        """Draw the sample of a parameter from its blocks, whose bytes follow each other in `data`."""
        context = self._context
        key = key_of(context.seed, context.position, planned.name)
        if context.score.is_random:
            self.progress.sample(context.backend.random(key, PackedMask.full(planned.entries)))
            return
        flat = context.backend.load(data)
        candidates = context.score.alone(flat, PackedMask.full(data.entries), self._scoring)
        self.progress.sample_blocks(candidates, len(blocks.spans), planned.entries, key)

    def aim(self) -> None:
        """Begin the search. Raises: MismatchError for a count above what is unpruned."""
        count = self._granularity.count_to_prune(self._context, self.progress.unpruned, self._entries)
        self.cut = self.progress.aim(count)

    def look(self, parameter: ArrivedParameter) -> None:
        """Count and collect what is near the cut. Raises: CheckpointError for NaN."""
        try:
            self.progress.look(parameter.planned.name, self._candidates(parameter))
        except NanKeyError:
            self._context.score.refuse_nan(parameter.planned, self._context.position)

    def settle(self) -> None:
        """Learn from what was seen of all parameters."""
        self.cut = self.progress.settle()

    def outcome(self, parameter: ArrivedParameter) -> Outcome:
        """Prune a parameter. Raises: CheckpointError for NaN."""
        if self.cut is None:
            raise RuntimeError("the cut is not known yet")
        score, key = self._context.score, self.cut.key
        try:
            kept = self.cut.kept(parameter.planned.name, self._candidates(parameter))
        except NanKeyError:
            score.refuse_nan(parameter.planned, self._context.position)
        threshold = None if score.is_random or key is None else magnitude_of(key, self._scoring.domain)
        return Outcome(kept, is_ranked=not score.is_random, threshold=threshold)

    def _candidates(self, parameter: ArrivedParameter) -> Candidates:
        return self._context.score.candidates(parameter, self._scoring)


def _ranked(score: Score, planned: DescribedParameter) -> Blocks | None:
    """Return the tensor whose entries alone are ranked, no blocks yet; None if more than that counts."""
    suffix = score.ranked(planned.auxiliary)
    dtype = planned.dtype if suffix is None else planned.auxiliary[suffix].dtype
    has_scale = suffix is None and planned.value_dtype != planned.dtype
    if not score.ranks_alone or has_scale or element_bits(dtype) % 8:
        return None
    name = planned.weight if suffix is None else planned.auxiliary[suffix].name
    return Blocks(name, dtype, (), planned.entries * element_bits(dtype) // 8)
