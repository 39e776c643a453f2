"""One ranking rule at work: how many entries or channels are pruned, and which, of the parameters that it selects.

A rule observes each parameter as it arrives (`observe`), so that samples are drawn while later ones still arrive, and
decides when all have (`decide`). In local scope a rule is at work on one parameter at a time.
"""

from collections.abc import Sequence

import numpy as np

from pruning_engine.execution.parameter_state import ParameterState
from pruning_engine.execution.ranking_context import RankingContext, norm_of
from pruning_engine.kernels import channel_norms as norms
from pruning_engine.kernels.backend import Backend, BoolArray, Candidates, Flat, Floats, Integers
from pruning_engine.kernels.channel_layout import ChannelLayout, channel_layout
from pruning_engine.kernels.magnitude_keys import domain_of, magnitude_of
from pruning_engine.kernels.packed_mask import PackedMask
from pruning_engine.kernels.random_keys import key_of
from pruning_engine.recipe import Channels, Random
from pruning_engine.runtime.clear_in_steps import clear_in_steps
from pruning_engine.selection import entries as selection
from pruning_engine.selection.channels import RankedChannels, least_channels
from pruning_engine.selection.outcome import Outcome
from pruning_engine.selection.random_choice import random_channels


class EntryRanking:
    """Prunes single entries."""

    def __init__(self, context: RankingContext, backend: Backend) -> None:
        self._context = context
        self._backend = backend
        self._is_random = isinstance(context.rule.score, Random)
        self._domain = _domain(context)
        self._stride = selection.sample_stride(sum(planned.entries for planned in context.members))
        self._observed: dict[str, tuple[Candidates, Integers]] = {}

    def observe(self, state: ParameterState) -> None:
        """Take note of a parameter that has arrived."""
        candidates = self._candidates(state)
        self._observed[state.planned.name] = candidates, selection.draw_sample(candidates, self._stride)

    def decide(self, states: Sequence[ParameterState]) -> list[Outcome]:
        """Prune the least important entries; among equals, those of the first states."""
        observed = [self._observed.pop(state.planned.name) for state in states]
        tensors, samples = [candidates for candidates, _ in observed], [sample for _, sample in observed]
        count = self._context.count_to_prune(
            sum(candidates.unpruned for candidates in tensors), sum(candidates.entries for candidates in tensors)
        )
        try:
            selected = selection.select(tensors, count, samples=samples)
        except selection.NanKeyError as error:
            self._context.refuse_nan(states[error.index].planned)
            raise
        key = selected.largest_pruned
        threshold = None if self._is_random or key is None else magnitude_of(key, self._domain)
        outcomes = [Outcome(mask, is_ranked=not self._is_random, threshold=threshold) for mask in selected.kept]
        clear_in_steps(observed, tensors, samples, selected.kept)
        return outcomes

    def _candidates(self, state: ParameterState) -> Candidates:
        if self._is_random:
            key = key_of(self._context.seed, self._context.position, state.planned.name)
            return self._backend.random(key, state.mask)
        has_scores = self._context.by_scores(state.planned)
        flat = state.scores if has_scores and state.scores is not None else state.weight
        return self._backend.magnitudes(flat, self._domain, state.mask)


class ChannelRanking:
    """Prunes whole channels: candidates are those with an unpruned entry, by their norm or at random."""

    def __init__(self, context: RankingContext, dim: int, backend: Backend) -> None:
        self._context = context
        self._dim = dim
        self._backend = backend
        self._is_random = isinstance(context.rule.score, Random)
        self._norm = norm_of(context.rule)
        self._observed: dict[str, RankedChannels] = {}

    def observe(self, state: ParameterState) -> None:
        """Take note of a parameter that has arrived."""
        layout = channel_layout(state.planned.shape, self._dim)
        candidates = self._backend.unpruned_channels(state.mask, layout)
        flat, mask = self._ranked_tensor(state)
        self._observed[state.planned.name] = RankedChannels(
            candidates=candidates,
            ranks=np.empty(0) if self._is_random else self._ranks(state, layout, candidates),
            layout=layout,
            backend=self._backend,
            flat=flat,
            mask=mask,
        )

    def decide(self, states: Sequence[ParameterState]) -> list[Outcome]:
        """Prune the least important channels; among equals, those of the first states."""
        tensors = [self._observed.pop(state.planned.name) for state in states]
        unpruned = sum(int(np.count_nonzero(one.candidates)) for one in tensors)
        count = self._context.count_to_prune(unpruned, sum(one.layout.channels for one in tensors))
        threshold: float | None = None
        if self._is_random:
            keys = [key_of(self._context.seed, self._context.position, state.planned.name) for state in states]
            pruned = random_channels(keys, [one.candidates for one in tensors], count)
        else:
            least = least_channels(tensors, count, self._norm)
            pruned = least.pruned
            if least.largest_pruned is not None:
                threshold = norms.norm_of(least.largest_pruned, self._norm)
        return [
            Outcome(
                self._backend.spread(one.candidates & ~marks, state.mask, one.layout),
                is_ranked=not self._is_random,
                threshold=threshold,
            )
            for state, one, marks in zip(states, tensors, pruned, strict=True)
        ]

    def _ranks(self, state: ParameterState, layout: ChannelLayout, candidates: BoolArray) -> Floats:
        """Return what ranks the candidates."""
        if not layout.entries:
            return np.empty(0)
        flat, mask = self._ranked_tensor(state)
        ranks: Floats = self._backend.norms(flat, mask, layout, self._norm)[candidates]
        if np.isnan(ranks).any():
            self._context.refuse_nan(state.planned)
        return ranks

    def _ranked_tensor(self, state: ParameterState) -> tuple[Flat, PackedMask]:
        """Return what is ranked: pruned weights count as 0; given scores count whole, as in torch."""
        if self._context.by_scores(state.planned) and state.scores is not None:
            return state.scores, PackedMask.full(state.planned.entries)
        return state.weight, state.mask


def make_ranking(context: RankingContext, backend: Backend) -> EntryRanking | ChannelRanking:
    """Return what a rule's granularity asks for."""
    granularity = context.rule.granularity
    if isinstance(granularity, Channels):
        return ChannelRanking(context, granularity.dim, backend)
    return EntryRanking(context, backend)


def _domain(context: RankingContext) -> str:
    return domain_of(
        planned.scores_dtype if context.by_scores(planned) and planned.scores_dtype is not None else planned.dtype
        for planned in context.members
    )
