"""The library that kernels.c is compiled to, and which of its instruction sets are used.

It is loaded with ctypes, which releases the interpreter's lock during a call. Where it was not compiled, the numpy
kernels compute the same bits.
"""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import numpy.typing as npt

PATH: Final = Path(__file__).with_name("kernels.so")
"""Where the build puts the library (hatch_build.py)."""

NUMPY: Final = "numpy"
"""The name of the kernels that need no library."""

LEVELS: Final = ("plain", "avx2", "avx512")
"""Instruction sets by name, as kernels.c numbers them: each processor has those up to some level."""


class Bracket(ctypes.Structure):
    """Keys from `low` to `high`, and the largest that is not NaN."""

    _fields_ = (("low", ctypes.c_uint64), ("high", ctypes.c_uint64), ("largest_number", ctypes.c_uint64))


class Found(ctypes.Structure):
    """What a pass found: see kernels.c."""

    _fields_ = (("kept", ctypes.c_int64), ("inside", ctypes.c_int64), ("has_nan", ctypes.c_int64))


class LeastFound(ctypes.Structure):
    """What became of a tensor: see `Least` in kernels.c."""

    _fields_ = (("is_settled", ctypes.c_int64), ("has_nan", ctypes.c_int64), ("largest", ctypes.c_uint64))


@dataclass(frozen=True, slots=True)
class Kernels:
    """The library's functions for one instruction set."""

    library: ctypes.CDLL
    level: int

    def function(self, name: str) -> Callable[..., int]:
        """Return one of the functions, by its name without what they all begin with."""
        return function_of(self.library, name, self.level)


@cache
def function_of(library: ctypes.CDLL, name: str, level: int) -> Callable[..., int]:
    """Return a library's function for one instruction set, by its name without what they all begin with.

    It is looked up once: CPython's type cache keeps each string by which an attribute was asked for, equal or not.
    """
    return partial(getattr(library, f"pruning_{name}"), level)


@dataclass(slots=True)
class _Choice:
    """The kernels that this process uses; None until they are asked for or set."""

    name: str | None = None


_choice = _Choice()


def available_kernels() -> Sequence[str]:
    """Return the kernels that this machine can use, the fastest last."""
    library = load()
    return (NUMPY,) if library is None else (NUMPY, *LEVELS[: library.pruning_levels() + 1])


def get_kernels() -> str:
    """Return the kernels in use: the fastest available ones, unless others were set."""
    if _choice.name is None:
        _choice.name = available_kernels()[-1]
    return _choice.name


def set_kernels(name: str) -> None:
    """Use some kernels from now on, or with "auto" the fastest. They change no result.

    Raises: ValueError if this machine has no kernels of this name.
    """
    names = available_kernels()
    if name != "auto" and name not in names:
        missing = "" if load() else "; the compiled ones are not installed"
        raise ValueError(f"kernels must be auto, {', '.join(names)} on this machine, got {name}{missing}")
    _choice.name = names[-1] if name == "auto" else name


def kernels_of(level: str) -> Kernels:
    """Return the compiled kernels for one instruction set. Raises: RuntimeError if they are not installed."""
    library = load()
    if library is None:
        raise RuntimeError(f"the compiled kernels are not installed: {PATH} cannot be loaded")
    return Kernels(library, LEVELS.index(level))


@cache
def load() -> ctypes.CDLL | None:
    """Return the library; None where it was not compiled, or not for this machine, or from another version's source."""
    try:
        library = ctypes.CDLL(str(PATH))
        _declare_all(library)
    except (OSError, AttributeError):
        return None
    return library


def _declare_all(library: ctypes.CDLL) -> None:
    """Declare what every function takes. Raises: AttributeError if one is missing."""
    pointer, integer, unsigned, level = ctypes.c_void_p, ctypes.c_int64, ctypes.c_uint64, ctypes.c_int
    for bits in (8, 16, 32, 64):
        split = (level, pointer, integer, unsigned, *([pointer] * 5), integer, pointer)
        least = (level, pointer, integer, unsigned, unsigned, pointer, integer, integer, unsigned, integer)
        sample = (level, pointer, integer, unsigned, pointer, unsigned, integer, pointer)
        select = (level, pointer, integer, integer, unsigned, unsigned, pointer)
        drop = (level, pointer, pointer, integer, unsigned, integer, pointer)
        groups = (level, pointer, integer, integer, unsigned, unsigned, pointer, pointer, pointer, pointer)
        rows = (level, pointer, integer, integer, unsigned, unsigned, *([pointer] * 5))
        _declare(library, f"pruning_split_{bits}", split)
        _declare(library, f"pruning_drop_{bits}", drop, integer)
        _declare(library, f"pruning_least_{bits}", (*least, pointer, pointer, pointer, integer, pointer, pointer))
        _declare(library, f"pruning_sample_{bits}", sample, integer)
        _declare(library, f"pruning_select_{bits}", select, unsigned)
        _declare(library, f"pruning_apply_{bits}", (level, pointer, integer, integer, pointer, pointer))
        _declare(library, f"pruning_groups_{bits}", groups, ctypes.c_int)
        _declare(library, f"pruning_rows_{bits}", rows, ctypes.c_int)
    _declare(library, "pruning_split_random", (level, unsigned, integer, *([pointer] * 5), integer, pointer))
    _declare(library, "pruning_ones", (level, pointer, integer), integer)
    for name in ("f32", "f64", "bf16"):
        _declare(library, f"pruning_sums_{name}", (level, pointer, integer, integer, integer, ctypes.c_int, pointer))
    _declare(library, "pruning_levels", (), ctypes.c_int)


def _declare(library: ctypes.CDLL, name: str, arguments: Sequence[Any], result: Any = None) -> None:
    function = getattr(library, name)
    function.argtypes, function.restype = arguments, result


def address(array: npt.NDArray[Any] | None) -> int | None:
    """Return where the memory of a contiguous array begins, as ctypes takes pointers; None for none."""
    if array is None:
        return None
    memory: Any = array
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(memory))  # in a quarter of the time of the line below
    except (TypeError, ValueError, BufferError):  # it is read-only, or empty
        return array.ctypes.data
