"""Tokens of single bytes, which make every text encodable: none of them may be removed.

Without one of them, what it stands for is encoded as unknown, or is silently left out by a BPE model without an unknown
token (tokenizers 0.23).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pruning_client.tokenizers.models import Need

_BYTE_LEVEL: Final = "ByteLevel"
_PRINTABLE: Final = (*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1))
"""The bytes that GPT-2's alphabet shows as themselves; the others are the characters from 256 on."""

FALLBACK: Final = tuple(f"<0x{byte:02X}>" for byte in range(256))
"""What sentencepiece calls the tokens of single bytes."""

BYTE_LEVEL_ALPHABET: Final = frozenset(map(chr, (*_PRINTABLE, *range(256, 512 - len(_PRINTABLE)))))
"""The characters that stand for the 256 bytes where text is encoded at the level of bytes."""


def is_byte_level(content: Mapping[str, Any]) -> bool:
    """Whether a tokenizer encodes text at the level of bytes."""
    return any(_has_byte_level(content.get(part)) for part in ("pre_tokenizer", "normalizer"))


def alphabet_needs(ids: Mapping[str, int]) -> Iterator[Need]:
    """Return the single bytes of a byte-level vocabulary."""
    yield from (Need(ids[each], "is a single byte") for each in sorted(BYTE_LEVEL_ALPHABET) if each in ids)


def fallback_needs(ids: Mapping[str, int]) -> Iterator[Need]:
    """Return the single bytes that characters without a token are encoded to."""
    yield from (Need(ids[each], "is a single byte") for each in FALLBACK if each in ids)


def _has_byte_level(part: Any) -> bool:
    if not isinstance(part, dict):
        return False
    nested = (*part.get("pretokenizers", ()), *part.get("normalizers", ()))
    return part.get("type") == _BYTE_LEVEL or any(map(_has_byte_level, nested))
