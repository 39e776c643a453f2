"""llama.cpp's imatrix files as statistics. Needs the package `gguf`, and numpy with it.

Such a file has, for each weight NAME of llama.cpp, `NAME.in_sum2`, the sums of the squares of its inputs, and
`NAME.counts`, the number of tokens; both once for each expert.
Source: llama.cpp, tools/imatrix, the format in GGUF (since July 2025).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from os import PathLike, fspath
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pruning_client.errors import CheckpointError
from pruning_client.statistics.gguf import expert_weights_of, is_gguf, stacked_weight_of, weights_of
from pruning_client.statistics.tensor import StatisticsTensor, in_memory
from pruning_proto.counted import counted
from pruning_proto.names import IN_COUNT, IN_SUM2
from pruning_proto.reasons import Reason

_SUMS: Final = ".in_sum2"
_COUNTS: Final = ".counts"

Array = NDArray[Any]


def read(path: str | PathLike[str], prefix: str = "model.") -> dict[str, Any]:
    """Return the fields of the `Statistics` in an imatrix file. Raises: as `Statistics.from_imatrix`."""
    found = _Found(prefix)
    for name, sums, counts in _pairs(fspath(path)):
        found.add(name, sums, counts)
    return found.fields()


def _pairs(path: str) -> Iterator[tuple[str, Array, Array]]:
    """Return name, sums and counts of each weight. Shape: (experts or 1, C) and (experts or 1,)."""
    tensors = _tensors(path)
    names = [name.removesuffix(_SUMS) for name in tensors if name.endswith(_SUMS)]
    if not names:
        raise _error(path, f"is not an imatrix: it has no tensor NAME{_SUMS}; give a file that `llama-imatrix` wrote")
    for name in names:
        sums = np.atleast_2d(tensors[name + _SUMS])
        counts = np.ravel(tensors.get(name + _COUNTS, np.empty(0)))
        if counts.shape != (len(sums),):
            raise _error(
                path,
                f"tensor {name + _COUNTS!r} has {counted(counts.size, 'count')} for {counted(len(sums), 'row')} of "
                f"{name!r}",
            )
        if not (np.isfinite(sums).all() and (sums >= 0).all() and np.isfinite(counts).all() and (counts >= 0).all()):
            raise _error(path, f"tensor {name!r} has sums or counts that are negative or not finite")
        yield name, sums, counts


def _tensors(path: str) -> dict[str, Array]:
    if not is_gguf(path):
        raise _error(
            path,
            "is not a GGUF file. If it is an imatrix in llama.cpp's earlier format (.dat), convert it: "
            "llama-imatrix --in-file OLD.dat -o NEW.gguf",
        )
    try:
        reader = import_module("gguf").GGUFReader(path)
    except ImportError as error:
        raise ImportError(
            f"imatrix files are read with gguf: pip install 'pruning-service[imatrix]' ({error})"
        ) from error
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise _error(path, f"cannot be read as GGUF: {error}") from error
    return {tensor.name: np.array(tensor.data) for tensor in reader.tensors}


@dataclass(slots=True)
class _Found:
    """The fields of `Statistics`; equal statistics of one layer are in it once."""

    prefix: str
    tensors: dict[str, StatisticsTensor] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    input_dims: dict[str, int] = field(default_factory=dict)
    module_names: dict[str, str | tuple[str, ...]] = field(default_factory=dict)
    unmapped: list[str] = field(default_factory=list)
    _seen: dict[tuple[str, bytes], str] = field(default_factory=dict)

    def add(self, name: str, sums: Array, counts: Array) -> None:
        """Add the statistics of a weight of llama.cpp."""
        single = weights_of(name, self.prefix)
        several = expert_weights_of(name, self.prefix, len(sums))
        if several:
            stack = stacked_weight_of(name, self.prefix)
            self.module_names[stack] = tuple(names[0] for names in several)
            self.input_dims[stack] = 2
            for number, names in enumerate(several):
                self._add(names, f"{name}.{number}", sums[number], counts[number])
        elif single and len(sums) == 1:
            self._add(single, name, sums[0], counts[0])
        else:
            self.unmapped.append(name)

    def _add(self, names: Sequence[str], source: str, sums: Array, count: Any) -> None:
        self.tokens |= dict.fromkeys(names, int(count))
        self.input_dims |= dict.fromkeys(names, 1)
        layer = ".".join(source.split(".")[:2])
        key = (layer, sums.tobytes() + np.float64(count).tobytes())
        owner = self._seen.setdefault(key, names[0])
        if owner == names[0]:
            self.tensors[owner + IN_SUM2] = _tensor(np.asarray(sums, "<f4"))
            self.tensors[owner + IN_COUNT] = _tensor(np.asarray(count, "<f8"))
        for name in names:
            if name != owner:
                self.aliases |= {name + suffix: owner + suffix for suffix in (IN_SUM2, IN_COUNT)}

    def fields(self) -> dict[str, Any]:
        """Return them by name."""
        return {
            "kind": "norms",
            "tensors": self.tensors,
            "aliases": self.aliases,
            "tokens": self.tokens,
            "input_dims": self.input_dims,
            "module_names": self.module_names,
            "unmapped": tuple(self.unmapped),
        }


def _tensor(array: Array) -> StatisticsTensor:
    dtype = {4: "F32", 8: "F64"}[array.itemsize]
    return in_memory(dtype, array.shape, np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def _error(path: str, description: str) -> CheckpointError:
    return CheckpointError(f"{path}: {description}", reason=Reason.INVALID_HEADER)
