"""BPE: characters, of which neighbours are merged in the order of a list.

A token is built from others step by step, and each step needs its parts: a vocabulary without `th` has no way to `the`.
So a kept token needs all tokens on its way. With these, text of kept tokens is merged as before: the first merge of the
whole list at each step leads to a kept token, is still in the list, and no merge before it is new.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeAlias

from pruning_client.tokenizers.byte_tokens import FALLBACK, alphabet_needs, fallback_needs
from pruning_client.tokenizers.kept_ids import KeptIds
from pruning_client.tokenizers.models import Need, kept_vocabulary

_Pair: TypeAlias = tuple[str, str]


@dataclass(frozen=True)
class Bpe:
    """The content of a BPE model. `is_byte_level`: its characters stand for bytes."""

    content: Mapping[str, Any]
    is_byte_level: bool

    @property
    def ids(self) -> Mapping[str, int]:
        """The id of each token."""
        vocabulary: Mapping[str, int] = self.content["vocab"]
        return vocabulary

    def needs(self, kept: Set[int]) -> Iterator[Need]:
        """Return the unknown token, single bytes, and the tokens that kept ones are built from."""
        unknown = self.content.get("unk_token")
        if unknown is not None and unknown in self.ids:
            yield Need(self.ids[unknown], "is the unknown token")
        if self.content.get("byte_fallback"):
            yield from fallback_needs(self.ids)
        if self.is_byte_level:
            yield from alphabet_needs(self.ids)
        seen: set[int] = set()
        for token, number in self.ids.items():
            if number in kept:
                for part in self._parts(token):
                    if part != token and self.ids[part] not in seen:
                        seen.add(self.ids[part])
                        yield Need(self.ids[part], f"is a part from which {token!r} (id {number}) is merged")

    def trimmed(self, kept: KeptIds) -> dict[str, Any]:
        """Return the content with the kept tokens only, and the merges whose parts and result are kept."""
        vocabulary = kept_vocabulary(self.ids, kept)
        merges = [
            merge
            for merge, pair in zip(self.content["merges"], self._pairs, strict=True)
            if vocabulary.keys() >= {*pair, self._merged(pair)}
        ]
        return {**self.content, "vocab": vocabulary, "merges": merges}

    def _parts(self, token: str) -> Sequence[str]:
        """Return the tokens that a token is built from, in this order; nothing if no merges lead to it."""
        symbols = self._characters(token)
        parts = dict.fromkeys(symbols)
        while len(symbols) > 1:
            pairs = list(pairwise(symbols))
            ranks = [self._ranks.get(pair, len(self._ranks)) for pair in pairs]
            place = min(range(len(pairs)), key=ranks.__getitem__)
            if pairs[place] not in self._ranks:
                return ()
            symbols[place : place + 2] = [self._merged(pairs[place])]
            parts[symbols[place]] = None
        return tuple(parts) if symbols == [token] and parts.keys() <= self.ids.keys() else ()

    def _characters(self, token: str) -> list[str]:
        """Return the tokens that a token is merged from, in the place of a word where it may be."""
        if self._prefix and token.startswith(self._prefix) and token != self._prefix:
            symbols = [self._prefix + each for each in token.removeprefix(self._prefix)]
        else:
            symbols = [self._prefix * (at > 0) + each for at, each in enumerate(token)]
        if self._suffix and token.endswith(self._suffix) and token != self._suffix:
            symbols = symbols[: -len(self._suffix)]
            symbols[-1] += self._suffix
        if self.content.get("byte_fallback"):
            return [part for each in symbols for part in self._or_bytes(each)]
        return symbols

    def _or_bytes(self, character: str) -> Sequence[str]:
        return [character] if character in self.ids else [FALLBACK[byte] for byte in character.encode()]

    def _merged(self, pair: _Pair) -> str:
        return pair[0] + pair[1][len(self._prefix) :]

    @property
    def _prefix(self) -> str:
        return self.content.get("continuing_subword_prefix") or ""

    @property
    def _suffix(self) -> str:
        return self.content.get("end_of_word_suffix") or ""

    @cached_property
    def _pairs(self) -> Sequence[_Pair]:
        """The merges; older files write each as one string."""
        return [_pair(merge) for merge in self.content["merges"]]

    @cached_property
    def _ranks(self) -> Mapping[_Pair, int]:
        return {pair: rank for rank, pair in enumerate(self._pairs)}


def _pair(merge: str | Sequence[str]) -> _Pair:
    first, second = merge.split(" ", 1) if isinstance(merge, str) else merge
    return first, second
