"""Unigram: the tokens of a text are those whose scores have the largest sum.

What is left of a vocabulary offers fewer ways to divide a text, so the best of all ways is still the best if its tokens
are kept. But a character without a token costs 10 more than the token of least score (`kUnkPenalty` of sentencepiece),
and would be cheaper in a vocabulary without that token: "unknown" might then win against kept tokens. So the token of
least score is kept.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pruning_client.tokenizers.byte_tokens import fallback_needs
from pruning_client.tokenizers.kept_ids import KeptIds
from pruning_client.tokenizers.models import Need


@dataclass(frozen=True)
class Unigram:
    """The content of a Unigram model."""

    content: Mapping[str, Any]

    @cached_property
    def ids(self) -> Mapping[str, int]:
        """The id of each token: its place."""
        return {token: at for at, (token, _) in enumerate(self._entries)}

    def needs(self, kept: Set[int]) -> Iterator[Need]:  # noqa: ARG002 - one signature of all models
        """Return the unknown token, single bytes, and the token of least score."""
        unknown = self.content.get("unk_id")
        if unknown is not None:
            yield Need(unknown, "is the unknown token")
        if self.content.get("byte_fallback"):
            yield from fallback_needs(self.ids)
        least = min(range(len(self._entries)), key=lambda at: (self._entries[at][1], at), default=None)
        if least is not None:
            yield Need(least, "has the least score, from which that of unknown characters is computed")

    def trimmed(self, kept: KeptIds) -> dict[str, Any]:
        """Return the content with the kept tokens only."""
        entries = [entry for at, entry in enumerate(self._entries) if kept.new_id(at) is not None]
        unknown = self.content.get("unk_id")
        return {**self.content, "vocab": entries, "unk_id": None if unknown is None else kept.new_id(unknown)}

    @property
    def _entries(self) -> Sequence[tuple[str, float]]:
        entries: Sequence[tuple[str, float]] = self.content["vocab"]
        return entries
