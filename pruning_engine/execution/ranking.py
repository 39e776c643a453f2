"""One ranking rule at work: how many fall, and which, of the parameters that it selects.

A rule is told of each parameter as it comes (`reach`), so that samples are drawn while later ones still arrive, and
decides when all are there (`run`). In local scope a rule is at work on one parameter at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pruning_engine.execution.parameter_state import ParameterState
from pruning_engine.execution.ranking_context import RankingContext, norm_of
from pruning_engine.kernels import channel_norms as norms
from pruning_engine.kernels import magnitude_keys as scores
from pruning_engine.kernels import random_keys as random_scores
from pruning_engine.kernels.backend import Backend, Bits, BoolArray, Candidates, Floats, Integers
from pruning_engine.kernels.channel_layout import ChannelLayout, channel_layout
from pruning_engine.kernels.cpu.backend import NumpyBackend
from pruning_engine.recipe import Channels, Prior, Random
from pruning_engine.runtime.emptying import empty
from pruning_engine.selection import entries as selection
from pruning_engine.selection.channels import exact_channel_sums
from pruning_engine.torch_tensors import TORCH_DTYPES


class EntryRanking:
    """Single entries compete."""

    def __init__(self, ranked: RankingContext, backend: Backend) -> None:
        self._ranked = ranked
        self._backend = backend
        self._domain = _domain(ranked)
        self._stride = ranked.tuning.stride(sum(planned.entries for planned in ranked.members))
        self._reached: dict[str, tuple[Candidates, Integers]] = {}

    def observe(self, work: ParameterState) -> None:
        """Take note of a parameter that has come."""
        if self._ranked.rule.prior is Prior.ZEROS:
            work.treat_zeros_as_pruned()
        contender = self._contender(work)
        self._reached[work.planned.name] = contender, selection.draw_sample(contender, self._stride)

    def decide(self, states: Sequence[ParameterState]) -> None:
        """Let the least important entries fall; the states stand in the order in which ties fall."""
        reached = [self._reached.pop(work.planned.name) for work in states]
        contenders, samples = [contender for contender, _ in reached], [sample for _, sample in reached]
        count = self._ranked.falling(
            sum(contender.alive for contender in contenders), sum(contender.size for contender in contenders)
        )
        try:
            selected = selection.select(contenders, count, samples=samples, tuning=self._ranked.tuning)
        except selection.NanKeyError as error:
            self._ranked.refuse_nan(states[contenders.index(error.contender)].planned)
            raise
        for work, kept in zip(states, selected.kept, strict=True):
            work.mask = kept
        empty(reached, contenders, samples, selected.kept)
        if not isinstance(self._ranked.rule.score, Random):
            key = selected.largest_fallen
            threshold = scores.magnitude_of(key, self._domain) if key is not None else None
            for work in states:
                work.threshold = threshold

    def _contender(self, work: ParameterState) -> Candidates:
        planned = work.planned
        if isinstance(self._ranked.rule.score, Random):
            key = random_scores.key_of(self._ranked.seed, self._ranked.position, planned.name)
            return self._backend.random(key, planned.entries, work.mask)
        flat = work.scores if self._ranked.by_scores(planned) and work.scores is not None else work.weight
        return self._backend.magnitudes(flat, self._domain, work.mask)


class ChannelRanking:
    """Whole channels compete: those with an entry left, by their norm or at random."""

    def __init__(self, ranked: RankingContext, backend: Backend) -> None:
        self._ranked = ranked
        self._backend = backend
        self._norm = norm_of(ranked.rule)
        self._reached: dict[str, _Channels] = {}

    def observe(self, work: ParameterState) -> None:
        """Take note of a parameter that has come."""
        assert isinstance(self._ranked.rule.granularity, Channels)  # noqa: S101 - else it is an EntryRanking
        if self._ranked.rule.prior is Prior.ZEROS:
            work.treat_zeros_as_pruned()
        layout = channel_layout(work.planned.shape, self._ranked.rule.granularity.dim)
        if work.mask is None:
            living = np.full(layout.channels, layout.channel_entries > 0)
        else:
            living = self._backend.living_channels(work.mask, layout)
        ranks = np.empty(0) if isinstance(self._ranked.rule.score, Random) else self._ranks(work, layout, living)
        self._reached[work.planned.name] = _Channels(layout, living, ranks)

    def decide(self, states: Sequence[ParameterState]) -> None:
        """Let the least important channels fall; the states stand in the order in which ties fall."""
        channels = [self._reached.pop(work.planned.name) for work in states]
        alive = sum(int(np.count_nonzero(each.living)) for each in channels)
        count = self._ranked.falling(alive, sum(each.layout.channels for each in channels))
        if isinstance(self._ranked.rule.score, Random):
            kept = self._random(states, channels, count)
        else:
            kept = self._least(states, channels, count)
        for work, each, marks in zip(states, channels, kept, strict=True):
            work.mask = self._backend.spread(marks, work.mask, each.layout)

    def _ranks(self, work: ParameterState, layout: ChannelLayout, living: BoolArray) -> Floats:
        """What ranks the living channels."""
        if not layout.entries:
            return np.empty(0)
        flat, alive = self._ranked_tensor(work)
        ranks: Floats = self._backend.norms(flat, alive, layout, self._norm)[living]
        if np.isnan(ranks).any():
            self._ranked.refuse_nan(work.planned)
        return ranks

    def _ranked_tensor(self, work: ParameterState) -> tuple[torch.Tensor, Bits | None]:
        """Pruned weights count as 0; given scores count whole, as torch has it."""
        if self._ranked.by_scores(work.planned) and work.scores is not None:
            return work.scores, None
        return work.weight, work.mask

    def _least(self, states: Sequence[ParameterState], channels: Sequence["_Channels"], count: int) -> list[BoolArray]:
        tensors = np.concatenate([np.full(len(each.ranks), index) for index, each in enumerate(channels)])
        numbers = np.concatenate([np.flatnonzero(each.living) for each in channels])

        def exact(places: Integers) -> Floats:
            sums = np.empty(len(places))
            for index in np.unique(tensors[places]):
                mine = np.flatnonzero(tensors[places] == index)
                sums[mine] = self._exact_sums(states[index], channels[index].layout, numbers[places[mine]])
            return sums

        ranks = np.concatenate([each.ranks for each in channels])
        most = max((each.layout.channel_entries for each in channels), default=0)
        cut = norms.cut(ranks, count, self._norm, most, exact)
        kept = [each.living.copy() for each in channels]
        for index, marks in enumerate(kept):
            marks[numbers[cut.falls & (tensors == index)]] = False
        for work in states:
            work.threshold = None if cut.largest_fallen is None else norms.norm_of(cut.largest_fallen, self._norm)
        return kept

    def _exact_sums(self, work: ParameterState, layout: ChannelLayout, numbers: Integers) -> Floats:
        flat, alive = self._ranked_tensor(work)
        return exact_channel_sums(self._backend, flat, alive, layout, numbers, self._norm)

    def _random(self, states: Sequence[ParameterState], channels: Sequence["_Channels"], count: int) -> list[BoolArray]:
        host = NumpyBackend()
        contenders = []
        for work, each in zip(states, channels, strict=True):
            key = random_scores.key_of(self._ranked.seed, self._ranked.position, work.planned.name)
            living = host.pack(torch.from_numpy(each.living))
            contenders.append(host.random(key, each.layout.channels, living))
        selected = selection.select(contenders, count, tuning=self._ranked.tuning)
        return [
            host.unpack(kept, each.layout.channels).numpy() for kept, each in zip(selected.kept, channels, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class _Channels:
    """A parameter's channels: which have an entry left, and what ranks those."""

    layout: ChannelLayout
    living: BoolArray
    ranks: Floats


def make_ranking(ranked: RankingContext, backend: Backend) -> EntryRanking | ChannelRanking:
    """Give what a rule's granularity asks for."""
    if isinstance(ranked.rule.granularity, Channels):
        return ChannelRanking(ranked, backend)
    return EntryRanking(ranked, backend)


def _domain(ranked: RankingContext) -> torch.dtype:
    names = {
        planned.scores_dtype if ranked.by_scores(planned) and planned.scores_dtype is not None else planned.dtype
        for planned in ranked.members
    }
    return scores.domain_of(TORCH_DTYPES[name] for name in names)
