"""The bytes that a fuzzer made, read as choices: numbers within bounds, one of several things, and what is left."""

from collections.abc import Sequence
from typing import TypeVar

Value = TypeVar("Value")


class Choices:
    """Bytes that are used up from their beginning; after their end every choice is the first one."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def integer(self, least: int, most: int) -> int:
        """Return a number, both ends included."""
        size = ((most - least).bit_length() + 7) // 8
        value = int.from_bytes(self._data[self._at : self._at + size], "little")
        self._at += size
        return least + value % (most - least + 1)

    def one_of(self, values: Sequence[Value]) -> Value:
        """Return one of some values."""
        return values[self.integer(0, len(values) - 1)]

    def rest(self) -> bytes:
        """Return what is left."""
        return self._data[self._at :]
