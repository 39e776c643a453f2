"""JSON that callers send, read in short steps, so that other threads get their turns.

`json.loads` keeps the interpreter to itself until it calls back into Python, whatever hooks it has: on 8 MiB that are
one object of small strings, another thread waited 20 times as long as here, and a server answers nobody meanwhile. A
limit of bytes per `{` would exclude such headers, but also a long string in `__metadata__`, which the official parser
accepts. So this parser stays, though hooks on `json` need 40 % less time for a header of ordinary tensors. Here no call
into C reads more than one string, one number or one small object.

Numbers and depth are bounded as in serde_json, which the official safetensors parser uses; a key that comes twice in
one object is refused. The error names the first fault in the text.
"""

import itertools
import json
import re
from collections.abc import Callable, Iterator
from json import decoder
from math import isinf
from typing import Final, NoReturn

DEEPEST: Final = 127
"""Levels of arrays and objects, as serde_json has it."""

_DIGITS = 20  # as many as 2^64 - 1 has
_SHORT = 4096  # characters of a text that is read in one call
_SMALL = 512  # characters of an object that is read in one call: a tensor's entry is shorter
_MANY = 8  # elements after which an array or object counts as long
# All quantifiers are possessive: going back over megabytes of digits would be a long step, too.
_SPACE = r"[ \t\n\r]*+"
_NUMERAL = r"-?+(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][-+]?+[0-9]++)?+"
_PLAIN = r'"[^"\\\x00-\x1f]*+"'  # a string without escapes
_SCALAR = rf"(?:{_NUMERAL}|{_PLAIN}|true|false|null)"
_SPACES = re.compile(_SPACE)
_NUMBER = re.compile(_NUMERAL)
_SCALARS = re.compile(rf"(?:{_SPACE}{_SCALAR}{_SPACE},){{8,256}}+")  # of an array, each with its comma
_PAIRS = re.compile(rf"(?:{_SPACE}{_PLAIN}{_SPACE}:{_SPACE}{_SCALAR}{_SPACE},){{8,256}}+")  # of an object
_WORDS: Final = {"true": True, "false": False, "null": None}


_scan_string: Callable[[str, int], tuple[str, int]] = decoder.scanstring  # type: ignore[attr-defined]


class DuplicateKeyError(ValueError):
    """An object has a key twice.

    Attributes:
        key: the key.
    """

    def __init__(self, key: str) -> None:
        super().__init__(f"the key {key!r} comes twice")
        self.key = key


def members(text: str) -> Iterator[tuple[str, object]]:
    """Return the members of the one object that `text` is, as they are read; a name may come twice here.

    Raises: ValueError if it is not a JSON object; DuplicateKeyError, which is one, for an object inside it.
    """
    short = _short_object(text)
    if short is not None:
        yield from short.items()
        return
    reader = _Reader(text)
    if reader.peek() != "{":
        raise ValueError("it does not begin with {")
    yield from reader.pairs(depth=1)
    reader.end()


def _short_object(text: str) -> dict[str, object] | None:
    """Read a text in one call if it is short and valid; else return None: reading in steps finds the fault."""
    if len(text) > _SHORT or "\\ud" in text or "\\uD" in text or text.count("{") + text.count("[") > DEEPEST:
        return None
    try:
        value = _DECODER.decode(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


class _Reader:
    """A text and the position reached. `depth` counts the arrays and objects around it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._has_surrogates = "\\ud" in text or "\\uD" in text

    def peek(self) -> str:
        """Step over spaces; return the next character, or nothing at the end."""
        self._at = _SPACES.match(self._text, self._at).end()  # type: ignore[union-attr]
        return self._text[self._at : self._at + 1]

    def end(self) -> None:
        """Refuse whatever else follows."""
        if self.peek():
            self._fail("Extra data")

    def pairs(self, depth: int) -> Iterator[tuple[str, object]]:
        """Read an object."""
        self._at += 1
        if self.peek() == "}":
            self._at += 1
            return
        for count in itertools.count():
            if count > _MANY and (run := self._run(_PAIRS)):
                yield from _DECODER.decode(f"{{{run}}}").items()
            if self.peek() != '"':
                self._fail("Expecting property name enclosed in double quotes")
            name = self._string()
            self._take(":")
            yield name, self._small() if depth == 1 else self._value(depth)
            if self._take(",}") == "}":
                return

    def _small(self) -> object:
        """Read a value of the outermost object, in one call if it is a small object."""
        if self.peek() == "{" and not self._has_surrogates:
            end = self._text.find("}", self._at, self._at + _SMALL) + 1
            piece = self._text[self._at : end]
            if piece and piece.count("[") < DEEPEST - 1:
                try:
                    value = _DECODER.decode(piece)
                except json.JSONDecodeError:
                    return self._value(1)  # the brace was not the end, or there is a fault, found in steps
                self._at = end
                return value
        return self._value(1)

    def _value(self, depth: int) -> object:
        first = self.peek()
        if first == '"':
            return self._string()
        if first and first in "{[":
            if depth == DEEPEST:
                self._fail("It is nested too deeply")
            return self._object(depth + 1) if first == "{" else self._array(depth + 1)
        if number := _NUMBER.match(self._text, self._at):
            self._at = number.end()
            return _number(number[0])
        return self._word()

    def _word(self) -> bool | None:
        for word, value in _WORDS.items():
            if self._text.startswith(word, self._at):
                self._at += len(word)
                return value
        return self._fail("Expecting value")

    def _object(self, depth: int) -> dict[str, object]:
        fields: dict[str, object] = {}
        for name, value in self.pairs(depth):
            if name in fields:
                raise DuplicateKeyError(name)
            fields[name] = value
        return fields

    def _array(self, depth: int) -> list[object]:
        self._at += 1
        if self.peek() == "]":
            self._at += 1
            return []
        values: list[object] = []
        while True:
            if len(values) > _MANY and (run := self._run(_SCALARS)):
                values += _DECODER.decode(f"[{run}]")
            values.append(self._value(depth))
            if self._take(",]") == "]":
                return values

    def _run(self, pattern: re.Pattern[str]) -> str:
        """Step over as many scalars as one call may read, if many follow each other; that takes a third of the time."""
        run = None if self._has_surrogates else pattern.match(self._text, self._at)
        if run is None:
            return ""
        self._at = run.end()
        return run[0][:-1]  # without the last comma

    def _string(self) -> str:
        text, self._at = _scan_string(self._text, self._at + 1)
        if self._has_surrogates:
            text.encode()  # refuses half a pair, which is not text
        return text

    def _take(self, allowed: str) -> str:
        found = self.peek()
        if not found or found not in allowed:
            self._fail(f"Expecting {' or '.join(map(repr, allowed))}")
        self._at += 1
        return found

    def _fail(self, what: str) -> NoReturn:
        raise json.JSONDecodeError(what, self._text, self._at)


def _number(text: str) -> int | float:
    if not text.lstrip("-").isdigit() or text == "-0" or len(text) > _DIGITS:  # as serde_json counts them
        return _real(text)
    return int(text)


def _real(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise ValueError(f"a number is out of range: {text[:40]}")
    return number


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields: dict[str, object] = {}
    for key, value in pairs:
        if key in fields:
            raise DuplicateKeyError(key)
        fields[key] = value
    return fields


def _refuse_constant(text: str) -> NoReturn:
    raise json.JSONDecodeError(f"{text} is not a JSON number", text, 0)


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_without_duplicates, parse_int=_number, parse_float=_real, parse_constant=_refuse_constant
)
