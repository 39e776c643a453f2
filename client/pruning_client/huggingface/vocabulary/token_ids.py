"""Token ids in config.json and generation_config.json, by the names of their fields.

An id that is removed is refused where the model needs the token, and left out where it only lists tokens: what is
suppressed, penalized, or looked up by a name. A part with a vocabulary of another size has ids of its own, which stay.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from pruning_client.errors import MismatchError
from pruning_client.tokenizers import KeptIds

_ONE: Final = re.compile(r"(?:^|_)token_(?:ids?|index|indices)$|^(?:bos|eos|pad|unk|mask|sep)_index$|^image_patch_id$")
"""Fields of an id, or of a list of them."""

_OTHER_VOCABULARY: Final = re.compile(r"^t2u_")
"""Fields of ids in another vocabulary: the speech units of SeamlessM4T."""

_LISTED: Final = ("suppress_tokens", "begin_suppress_tokens")
_NAMED: Final = ("lang_to_id", "task_to_id")
_SEQUENCES: Final = ("bad_words_ids",)
_NEEDED_SEQUENCES: Final = ("force_words_ids",)
_FORCED: Final = "forced_decoder_ids"
_BIASED: Final = "sequence_bias"

_NewId: TypeAlias = Callable[[int], int | None]
_SIZE: Final = "vocab_size"
_SIZES: Final = (
    *(_SIZE, "padded_vocab_size", "text_vocab_size", "decoder_vocab_size", "src_vocab_size", "tgt_vocab_size"),
    "vocab_size_per_layer_input",
)
"""Fields of the number of rows."""


def renumbered(content: Mapping[str, Any], kept: KeptIds, file: str) -> dict[str, Any]:
    """Return the content of a config file with the new ids. Raises: MismatchError that names the file and the field."""
    return _Renumbering(kept.new_id, kept.rows, file).part(content, ())


def special_ids(content: Mapping[str, Any], rows: int) -> frozenset[int]:
    """Return the token ids that a config file needs, of a vocabulary of `rows` rows."""
    seen: set[int] = set()

    def needed(number: int) -> int:
        seen.add(number)
        return number

    _Renumbering(needed, rows, "").part(content, (), is_needed_only=True)
    return frozenset(number for number in seen if 0 <= number < rows)


class _Renumbering:
    """Rewrites the fields of one file."""

    def __init__(self, new_id: _NewId, rows: int, file: str) -> None:
        self._new_id, self._rows, self._file = new_id, rows, file

    def part(self, part: Mapping[str, Any], place: Sequence[str], *, is_needed_only: bool = False) -> dict[str, Any]:
        """Return a part, and the parts in it, with new ids; with `is_needed_only`, lists of tokens are passed over."""
        changed = dict(part)
        for key, value in part.items():
            where = (*place, str(key))
            if _ONE.search(str(key)) and not _OTHER_VOCABULARY.search(str(key)):
                changed[key] = self._needed(value, where)
            elif key == _FORCED and isinstance(value, list):
                changed[key] = [[at, self._needed(number, where)] for at, number in value]
            elif key in _NEEDED_SEQUENCES:
                changed[key] = self._needed(value, where)
            elif not is_needed_only and (found := self._without_removed(str(key), value)) is not None:
                changed[key] = found
            elif (
                isinstance(value, dict) and key not in (*_NAMED, _BIASED) and value.get(_SIZE, self._rows) == self._rows
            ):
                changed[key] = self.part(value, where, is_needed_only=is_needed_only)
        return changed

    def _needed(self, value: Any, where: Sequence[str]) -> Any:
        """Return an id, or a list of them, that may not be removed."""
        if isinstance(value, list):
            return [self._needed(each, where) for each in value]
        if not isinstance(value, int) or isinstance(value, bool):
            return value
        new = self._new_id(value)
        if new is None:
            name = ".".join(where)
            raise MismatchError(
                f"{self._file}: {name} is token {value}, which is removed; keep {value}, or set {name} to another "
                f"token or to null in {self._file} first",
                metadata={"field": name, "file": self._file},
            )
        return new

    def _without_removed(self, key: str, value: Any) -> Any:
        """Return a list of tokens, or a mapping to them, without those that are removed; None for other fields."""
        if key in _LISTED and isinstance(value, list):
            return [new for number in value if (new := self._new_id(number)) is not None]
        if key in _NAMED and isinstance(value, dict):
            return {name: new for name, number in value.items() if (new := self._new_id(number)) is not None}
        if key in _SEQUENCES and isinstance(value, list):
            return [ids for tokens in value if (ids := self._sequence(tokens)) is not None]
        if key == _BIASED and isinstance(value, list):
            return [[ids, bias] for tokens, bias in value if (ids := self._sequence(tokens)) is not None]
        return None

    def _sequence(self, tokens: Sequence[int]) -> list[int] | None:
        new = [number for token in tokens if (number := self._new_id(token)) is not None]
        return new if len(new) == len(tokens) else None


def sizes(content: Mapping[str, Any], rows: int) -> Iterator[tuple[str, ...]]:
    """Return the places of the fields that count the rows of a vocabulary."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from ((str(key), *inner) for inner in sizes(value, rows))
        elif key in _SIZES and value == rows:
            yield (str(key),)
