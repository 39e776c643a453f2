"""Scores of units, such as experts and layers, by the name of their group: given as numbers, or in a file.

A file of safetensors has `<group>:unit_scores`, one number per unit; or what can be added up over batches and
processes, `<group>:unit_sum` and `<group>:unit_count`, whose quotient is the score: 0 for a unit that nothing was
counted of, such as an expert that no token chose (`unmeasured_units`). Other tensors in it are ignored.
"""

import math
import struct
from collections.abc import Iterable, Mapping
from numbers import Real
from os import PathLike, fspath
from typing import TYPE_CHECKING, Final, TypeAlias

from pruning_client.errors import MismatchError, recipe_error, tensor_error
from pruning_client.statistics.statistics import Statistics
from pruning_proto.names import UNIT_COUNT, UNIT_SCORES, UNIT_SUM
from pruning_proto.reasons import Reason

if TYPE_CHECKING:
    from pruning_client.statistics.tensor import StatisticsTensor

UnitScoresLike: TypeAlias = Mapping[str, Iterable[float]] | Statistics | str | PathLike[str]
"""Scores by the name of the group; or statistics, or the path of a file, that have them."""

_CODES: Final = {"F64": "d", "F32": "f", "F16": "e", "I64": "q", "I32": "i", "U32": "I", "I16": "h", "U8": "B"}


def unit_scores_of(scores: UnitScoresLike) -> dict[str, tuple[float, ...]]:
    """Return the scores of each group. Raises: OSError, CheckpointError, MismatchError, RecipeError."""
    if isinstance(scores, Mapping):
        return {str(group): _checked(group, values) for group, values in scores.items()}
    where, tensors = _tensors_of(scores)
    found = {name.removesuffix(UNIT_SCORES): _values(name, tensors) for name in tensors if name.endswith(UNIT_SCORES)}
    found |= {name.removesuffix(UNIT_SUM): _means(name, tensors) for name in tensors if name.endswith(UNIT_SUM)}
    if not found:
        raise MismatchError(
            f"{where}: has no scores of units: no tensor is named GROUP{UNIT_SCORES}, or GROUP{UNIT_SUM} beside "
            f"GROUP{UNIT_COUNT}, such as model.layers.0.mlp{UNIT_SCORES} of shape [experts]",
            reason=Reason.MISSING_COMPANION,
        )
    return {group: _checked(group, values) for group, values in found.items()}


def unmeasured_units(scores: UnitScoresLike) -> dict[str, tuple[int, ...]]:
    """Return the units that have a score of 0 because nothing was counted of them, of each group that has such.

    Raises: as `unit_scores_of`.
    """
    if isinstance(scores, Mapping):
        return {}
    _, tensors = _tensors_of(scores)
    counts = {name.removesuffix(UNIT_COUNT): _values(name, tensors) for name in tensors if name.endswith(UNIT_COUNT)}
    found = {group: tuple(unit for unit, count in enumerate(each) if not count) for group, each in counts.items()}
    return {group: units for group, units in found.items() if units}


def _tensors_of(scores: "Statistics | str | PathLike[str]") -> "tuple[str, dict[str, StatisticsTensor]]":
    """Return the tensors of statistics or a file, after what to call them in a message."""
    if isinstance(scores, str | PathLike):
        where = fspath(scores)
        return where, _tensors_in(where)
    return "the statistics", dict(scores.tensors)


def _tensors_in(path: str) -> "dict[str, StatisticsTensor]":
    from pruning_client.checkpoints.file import FileSource  # noqa: PLC0415 - only those who read one
    from pruning_client.statistics.tensor import StatisticsTensor  # noqa: PLC0415

    file = FileSource(path)

    def tensor(dtype: str, shape: tuple[int, ...], begin: int, end: int) -> StatisticsTensor:
        return StatisticsTensor(dtype, shape, lambda: file.read(begin, end))

    return {each.name: tensor(each.dtype, each.shape, each.begin, each.end) for each in file.layout.tensors}


def _means(name: str, tensors: "Mapping[str, StatisticsTensor]") -> tuple[float, ...]:
    """Return sums divided by their counts; a unit that nothing was counted of has a score of 0.

    Raises: MismatchError if nothing was counted of any.
    """
    count_name = name.removesuffix(UNIT_SUM) + UNIT_COUNT
    if count_name not in tensors:
        raise tensor_error(Reason.MISSING_COMPANION, name, f"needs the counts beside it, {count_name!r}")
    sums, counts = _values(name, tensors), _values(count_name, tensors)
    if len(counts) == 1:
        counts *= len(sums)
    if len(counts) != len(sums):
        description = f"has {len(counts)} counts for {len(sums)} sums; there is one for each unit, or one for all"
        raise tensor_error(Reason.SHAPE_MISMATCH, count_name, description)
    if not any(counts):
        raise tensor_error(
            Reason.INVALID_AUXILIARY,
            count_name,
            "is 0: nothing was measured, so that its units have no order; measure on inputs that reach them",
        )
    return tuple(total / count if count else 0.0 for total, count in zip(sums, counts, strict=True))


def _values(name: str, tensors: "Mapping[str, StatisticsTensor]") -> tuple[float, ...]:
    tensor = tensors[name]
    if len(tensor.shape) > 1:
        raise tensor_error(Reason.SHAPE_MISMATCH, name, f"has shape {list(tensor.shape)}; it is one number per unit")
    data = bytes(tensor.data())
    if tensor.dtype == "BF16":  # the upper half of fp32
        data, dtype = b"".join(b"\0\0" + data[at : at + 2] for at in range(0, len(data), 2)), "F32"
    else:
        dtype = tensor.dtype
    if dtype not in _CODES:
        raise tensor_error(Reason.UNKNOWN_DTYPE, name, f"has dtype {dtype}; scores are {', '.join(_CODES)} or BF16")
    code = _CODES[dtype]
    return tuple(map(float, struct.unpack(f"<{len(data) // struct.calcsize(f'<{code}')}{code}", data)))


def _checked(group: str, values: Iterable[object]) -> tuple[float, ...]:
    """Return the numbers of one group. Raises: RecipeError if there are none, or one is not finite."""
    field = f'score.unit_scores.groups["{group}"]'
    numbers = tuple(_number(value, position, field) for position, value in enumerate(values))
    if not numbers:
        raise recipe_error(Reason.INVALID_RECIPE, field, "has no numbers; it is one for each unit")
    return numbers


def _number(value: object, position: int, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        description = f"a score is a finite number; that of unit {position} is {value!r}"
        raise recipe_error(Reason.INVALID_RECIPE, field, description)
    return float(value)
