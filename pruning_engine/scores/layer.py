"""A selected weight as matrices of outputs by inputs, and what is known of the inputs: what calibrated scores and
updates compute with.

Everything here is in host memory, in fp32, or in fp64 for fp64 weights.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from pruning_engine.errors import CheckpointError, Reason
from pruning_engine.kernels.backend import BoolArray
from pruning_engine.kernels.input_matrix import InputLayout, Matrices
from pruning_engine.methods.arrays import Array
from pruning_engine.methods.gram import Gram
from pruning_engine.methods.predicted_error import output_energy

Flags = BoolArray
"""An array (E, R, C) of bools; True is unpruned."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Layer:
    """One weight and its inputs.

    Attributes:
        name: of the weight.
        layout: where its matrices are.
        weight: (E, R, C), as it arrived, 0 where its prior mask prunes.
        grams: of the inputs of each matrix; empty without `w:in_gram` and `w:inputs`.
        source: the name of the tensor that these come from.
        tokens: how many rows of inputs they are sums of; None if that is not known.
        output_gram: of the gradients of the outputs, (R, R); None without `w:out_gram`.
        means: (E, C), the mean of each input; None without `w:in_sum` and `w:in_count`.
        squares: (E, C), the sum of squares of each input; None if that is not known.
        counts: (E,), the tokens that these are sums over; None without `w:in_count`.
    """

    name: str
    layout: InputLayout
    weight: Matrices
    grams: Sequence[Gram] = ()
    source: str = ""
    tokens: float | None = None
    output_gram: Gram | None = None
    means: npt.NDArray[Any] | None = None
    squares: npt.NDArray[Any] | None = None
    counts: npt.NDArray[Any] | None = None
    _energies: list[float] = field(default_factory=list)

    @property
    def grams_or_none(self) -> Sequence[Gram | None]:
        """The Gram of each matrix; None where H = I stands for it."""
        return self.grams or [None] * len(self.weight)

    @property
    def energy(self) -> float:
        """||W X||^2, computed once; without statistics ||W||^2."""
        if not self._energies:
            self._energies.append(sum(map(output_energy, self.weight, self.grams_or_none)))
        return self._energies[0]

    @property
    def has_few_tokens(self) -> bool:
        """Whether there are fewer tokens than inputs, so that an update fits noise."""
        return self.tokens is not None and self.tokens < self.layout.columns

    def each(self, compute: Callable[[int, Gram], Array]) -> Matrices:
        """Return what a method computes of each matrix, by its index and its Gram, stacked.

        Raises: CheckpointError, naming the statistics, if they are no Gram matrix after all.
        """
        try:
            found = [compute(index, gram) for index, gram in enumerate(self.grams)]
        except ValueError as error:
            self.refuse(str(error))
        return np.stack(found) if len(found) != 1 else found[0][None]

    def refuse(self, why: str) -> NoReturn:
        """Refuse the statistics. Raises: CheckpointError."""
        raise CheckpointError(
            Reason.INVALID_AUXILIARY,
            f"auxiliary tensor {self.source!r} of {self.name!r} is not usable: {why}; a Gram matrix is the sum of "
            f"x xT over tokens, in fp32 or fp64",
            tensor=self.source,
        )
