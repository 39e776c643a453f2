"""Errors of a task as bytes, and back with their type, text and attributes, in another process."""

import pickle
import traceback
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

from pruning_client.errors import InternalError


class TracebackElsewhere(Exception):  # noqa: N818 - it is the cause of one
    """The traceback of an error in the process that raised it; the error's cause in the process that reads it."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


@dataclass(frozen=True, slots=True)
class _Parts:
    """An error that its own class does not unpickle: its constructor takes other arguments than `args`, say."""

    kind: type[BaseException]
    arguments: tuple[Any, ...]
    attributes: dict[str, Any]

    def error(self) -> BaseException:
        found = self.kind.__new__(self.kind, *self.arguments)
        own: Any = next(kind for kind in self.kind.__mro__ if kind.__module__ == "builtins")
        own.__init__(found, *self.arguments)  # an OSError's number and file name
        found.__dict__.update(self.attributes)
        return found


def _parts_of(error: BaseException) -> _Parts:
    _, arguments, *_ = cast("tuple[Any, tuple[Any, ...]]", error.__reduce__())
    attributes = {
        name: dict(value) if isinstance(value, MappingProxyType) else value for name, value in vars(error).items()
    }
    return _Parts(type(error), arguments, attributes)


def packed_error(error: BaseException) -> bytes:
    """Return an error as bytes, with the text of its traceback; one that cannot be pickled as an InternalError."""
    text = "".join(traceback.format_exception(error))
    for form_of in (lambda: error, lambda: _parts_of(error)):
        with suppress(Exception):  # whatever the error's own class does
            data = pickle.dumps((form_of(), text))
            if _is_same(_error_of(data), error):
                return data
    return pickle.dumps((InternalError(f"{type(error).__name__}: {error}"), text))


def unpacked_error(data: bytes) -> BaseException:
    """Return the error, with where it was raised as its cause. `data` is from a process that is trusted."""
    error = _error_of(data)
    error.__cause__ = TracebackElsewhere(pickle.loads(data)[1])  # noqa: S301 - of our own workers
    return error


def _error_of(data: bytes) -> BaseException:
    form, _ = pickle.loads(data)  # noqa: S301 - of our own workers
    error: BaseException = form.error() if isinstance(form, _Parts) else form
    return error


def _is_same(one: BaseException, other: BaseException) -> bool:
    return type(one) is type(other) and str(one) == str(other) and vars(one).keys() == vars(other).keys()
