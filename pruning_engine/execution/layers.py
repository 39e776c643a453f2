"""The statistics of parameters under way. Parameters that share a Gram matrix share one object, and its factorisations;
it is freed with the last of them.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from threading import Lock
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pruning_engine.buffer import Buffer
from pruning_engine.errors import CheckpointError, MismatchError, Reason
from pruning_engine.execution.parameter_state import ParameterState
from pruning_engine.kernels.cpu.arrays import numbers_of
from pruning_engine.kernels.input_matrix import (
    InputLayout,
    UnfitInputDimError,
    computed_dtype,
    flags_of,
    input_layout,
    read_entries,
)
from pruning_engine.methods.gram import Gram, faults
from pruning_engine.planning.plan import PlannedParameter
from pruning_engine.scores.entries.input_norms import input_norms
from pruning_engine.scores.layer import Layer
from pruning_proto.names import IN_COUNT, IN_GRAM, IN_NORM, IN_SUM, IN_SUM2, INPUTS, OUT_GRAM

_STACKED: Final = 3
"""Dims of statistics that have one matrix for each of several experts."""


class Layers:
    """Makes the `Layer` of each parameter that a calibrated rule selects."""

    def __init__(self, parameters: Iterable[PlannedParameter]) -> None:
        sources = (source_of(planned) for planned in parameters if planned.rules)
        self._users = Counter(source for source in sources if source is not None)
        self._grams: dict[str, Sequence[Gram]] = {}
        self._locks = {source: Lock() for source in self._users}

    def of(self, state: ParameterState) -> Layer:
        """Return a parameter's layer.

        Raises: CheckpointError for weights or statistics that are not finite, and for a matrix that is no Gram matrix.
        """
        planned = state.planned
        layout = layout_of(planned)
        weight = layout.to_matrices(_weight(state))
        source = source_of(planned)
        grams = () if source is None else self._shared(source, state, layout)
        return Layer(
            name=planned.name,
            layout=layout,
            weight=weight,
            grams=grams,
            source=source or "",
            tokens=_tokens(state),
            output_gram=_output_gram(state, layout),
            means=_means(state, layout),
            squares=_squares(state, layout, grams),
            counts=_counts(state, layout),
        )

    def release(self, planned: PlannedParameter) -> None:
        """Take note that a parameter needs its statistics no longer."""
        source = source_of(planned) if planned.rules else None
        if source is None:
            return
        with self._locks[source]:
            self._users[source] -= 1
            if not self._users[source]:
                self._grams.pop(source, None)

    def _shared(self, source: str, state: ParameterState, layout: InputLayout) -> Sequence[Gram]:
        with self._locks[source]:
            if source not in self._grams:
                self._grams[source] = _grams(state, source, layout)
            return self._grams[source]


def source_of(planned: PlannedParameter) -> str | None:
    """Return the name of the tensor that has a parameter's Gram matrix, or the inputs that it is made of."""
    found = next((planned.auxiliary[suffix] for suffix in (IN_GRAM, INPUTS) if suffix in planned.auxiliary), None)
    return None if found is None else found.name


def layout_of(planned: PlannedParameter) -> InputLayout:
    """Return the matrices of a parameter; without an input dim one row of all entries, where H = I needs no more."""
    if planned.input_dim is None:
        entries = planned.entries
        return InputLayout(planned.shape, 0, 1, 1, entries, 1, is_transposed=False)
    try:
        return input_layout(planned.name, planned.shape, planned.input_dim)
    except UnfitInputDimError as error:
        raise MismatchError(
            Reason.DIM_OUT_OF_RANGE,
            f"tensor {planned.name!r} of shape {list(planned.shape)} cannot have its inputs along dim "
            f"{planned.input_dim}: they are along dim 1 of Linear and Conv layers, 0 where inputs are stored first, "
            f"and 1 or 2 of stacked experts, which have 3 dims",
            tensor=planned.name,
        ) from error


def _weight(state: ParameterState) -> npt.NDArray[Any]:
    """Return the weights as they arrived, 0 where the prior mask prunes."""
    planned = state.planned
    weight = read_entries(state.arrived, computed_dtype(planned.dtype))
    if not state.prior.is_full:
        weight[~flags_of(state.prior, state.backend)] = 0
    if not np.isfinite(weight).all():
        raise CheckpointError(
            Reason.NAN_WEIGHTS,
            f"tensor {planned.weight!r} holds NaN or infinity; rules that use statistics of its inputs need finite "
            f"weights",
            tensor=planned.weight,
        )
    return weight


def _grams(state: ParameterState, source: str, layout: InputLayout) -> Sequence[Gram]:
    is_matrix = IN_GRAM in state.planned.auxiliary
    stacked = _matrices(state.statistic(IN_GRAM if is_matrix else INPUTS))
    name, dtype = f"auxiliary tensor {source!r}", computed_dtype(state.planned.dtype)
    made = (Gram.of_matrix(each) if is_matrix else Gram.of_inputs(each, dtype) for each in stacked)
    with np.errstate(all="ignore"):
        grams = tuple(made)
    if len(grams) != layout.matrices:
        _refuse(f"{name} has {len(grams)} matrices, expected {layout.matrices}", source)
    for gram in grams:
        fault = faults(gram.matrix, name if is_matrix else f"the Gram matrix of {name}", layout.columns)
        if fault is not None:
            _refuse(fault, source)
    return grams


def _output_gram(state: ParameterState, layout: InputLayout) -> Gram | None:
    if OUT_GRAM not in state.planned.auxiliary:
        return None
    source = state.planned.auxiliary[OUT_GRAM].name
    gram = Gram.of_matrix(_matrices(state.statistic(OUT_GRAM))[0])
    fault = faults(gram.matrix, f"auxiliary tensor {source!r}", layout.rows)
    if fault is not None:
        _refuse(fault, source)
    return gram


def _matrices(statistic: Buffer) -> npt.NDArray[Any]:
    """Return one matrix for each of the weight's: the buffer's own memory, if it is fp32 or fp64."""
    array = statistic.array
    if statistic.dtype not in ("F32", "F64"):
        flat = Buffer(statistic.dtype, (statistic.entries,), array.reshape(-1))
        array = read_entries(flat, np.float32).reshape(statistic.shape)
    return array if array.ndim == _STACKED else array[None]


def _tokens(state: ParameterState) -> float | None:
    """Return the number of tokens, of stacked experts that of the one that saw the fewest."""
    if IN_COUNT in state.planned.auxiliary:
        counts = _numbers(state, IN_COUNT)
        return float(counts.min()) if len(counts) else None
    if IN_GRAM not in state.planned.auxiliary and INPUTS in state.planned.auxiliary:
        return float(state.planned.auxiliary[INPUTS].shape[-2])
    return None


def _means(state: ParameterState, layout: InputLayout) -> npt.NDArray[Any] | None:
    """Return the mean of each column's inputs; of a Conv whose sums are by channel, of each position the same."""
    if not {IN_SUM, IN_COUNT} <= state.planned.auxiliary.keys():
        return None
    sums = _numbers(state, IN_SUM).reshape(layout.matrices, -1)
    counts = np.broadcast_to(_numbers(state, IN_COUNT), (layout.matrices,))
    means = sums / np.maximum(counts, 1)[:, None]
    return np.repeat(means, layout.columns // max(1, means.shape[1]), axis=1)


def _squares(state: ParameterState, layout: InputLayout, grams: Sequence[Gram]) -> npt.NDArray[Any] | None:
    """Return the sum of squares of each column's inputs, (E, C), from what there is."""
    suffix = next((suffix for suffix in (IN_NORM, IN_SUM2) if suffix in state.planned.auxiliary), None)
    if suffix is not None:
        squares = input_norms(state, suffix).reshape(layout.matrices, -1) ** 2
        return np.repeat(squares, layout.columns // max(1, squares.shape[1]), axis=1)
    return np.stack([gram.diagonal for gram in grams]).astype(np.float64) if grams else None


def _counts(state: ParameterState, layout: InputLayout) -> npt.NDArray[Any] | None:
    if IN_COUNT not in state.planned.auxiliary:
        return None
    return np.broadcast_to(_numbers(state, IN_COUNT), (layout.matrices,))


def _numbers(state: ParameterState, suffix: str) -> npt.NDArray[np.float64]:
    """Return the numbers of a small statistic.

    Raises: CheckpointError if one is not finite, or a count is negative.
    """
    statistic = state.statistic(suffix)
    numbers = numbers_of(Buffer(statistic.dtype, (statistic.entries,), statistic.array.reshape(-1)), np.float64)
    wrong = np.flatnonzero(~np.isfinite(numbers) | ((numbers < 0) if suffix == IN_COUNT else False))
    if len(wrong):
        name = state.planned.auxiliary[suffix].name
        allowed = "finite numbers from 0" if suffix == IN_COUNT else "finite numbers"
        _refuse(f"auxiliary tensor {name!r} holds {numbers[wrong[0]]} at position {wrong[0]}; allowed: {allowed}", name)
    return numbers


def _refuse(message: str, tensor: str) -> None:
    raise CheckpointError(Reason.INVALID_AUXILIARY, message, tensor=tensor)
