"""WordPiece and WordLevel: words, and pieces of them, looked up in a vocabulary.

WordPiece takes the longest token that fits at each place of a word. The longest of all tokens is also the longest of
the kept ones if it is kept itself, so that text of kept tokens is always encoded as before.
"""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

from pruning_client.tokenizers.kept_ids import KeptIds
from pruning_client.tokenizers.models import Need, kept_vocabulary


@dataclass(frozen=True, slots=True)
class WordModel:
    """The content of a WordPiece or WordLevel model."""

    content: Mapping[str, Any]

    @property
    def ids(self) -> Mapping[str, int]:
        """The id of each token."""
        vocabulary: Mapping[str, int] = self.content["vocab"]
        return vocabulary

    def needs(self, kept: Set[int]) -> Iterator[Need]:  # noqa: ARG002 - one signature of all models
        """Return the unknown token, which every word without a token is encoded to."""
        unknown = self.content.get("unk_token")
        if unknown is not None and unknown in self.ids:
            yield Need(self.ids[unknown], "is the unknown token")

    def trimmed(self, kept: KeptIds) -> dict[str, Any]:
        """Return the content with the kept tokens only."""
        return {**self.content, "vocab": kept_vocabulary(self.ids, kept)}
