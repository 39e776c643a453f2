"""The models of a tokenizer file, as what trimming asks of each: its tokens, what must be kept, and what is left of it.

Each model has a file of its own, and a row in `parsing.MODELS`.
"""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any, Protocol

from pruning_client.tokenizers.kept_ids import KeptIds


@dataclass(frozen=True, slots=True)
class Need:
    """A token that must be kept, and why, as the end of a sentence: "is the unknown token"."""

    id: int
    why: str


class Model(Protocol):
    """One model of a tokenizer."""

    @property
    def ids(self) -> Mapping[str, int]:
        """The id of each token."""

    def needs(self, kept: Set[int]) -> Iterator[Need]:
        """Return the tokens without which text of the `kept` tokens is not encoded as before."""

    def trimmed(self, kept: KeptIds) -> dict[str, Any]:
        """Return the content of the model with the kept tokens only, under their new ids."""


def kept_vocabulary(ids: Mapping[str, int], kept: KeptIds) -> dict[str, int]:
    """Return the kept tokens and their new ids, in the order of ids."""
    new = {token: kept.new_id(at) for token, at in sorted(ids.items(), key=lambda item: item[1])}
    return {token: at for token, at in new.items() if at is not None}
