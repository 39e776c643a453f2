"""What scores and granularities see of a parameter: of one that is planned, and of one whose tensors have arrived.

`planning.plan.PlannedParameter` and `execution.parameter_state.ParameterState` have these members, and more.
"""

from collections.abc import Mapping
from typing import Protocol

from pruning_engine.checkpoints.parameters import AuxiliaryOf
from pruning_engine.kernels.backend import Backend, BoolArray, Flat, Values
from pruning_engine.kernels.packed_mask import PackedMask
from pruning_engine.scores.layer import Layer


class DescribedParameter(Protocol):
    """A parameter by its name, dtypes and shapes."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def weight(self) -> str:
        """The name of its weight in the input."""
        ...

    @property
    def dtype(self) -> str:
        """The dtype of its weight."""
        ...

    @property
    def value_dtype(self) -> str:
        """The dtype that has the values of its weight exactly."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of its weight."""
        ...

    @property
    def entries(self) -> int:
        """The number of its entries."""
        ...

    @property
    def input_dim(self) -> int | None:
        """The dim of its input channels, from 0, where a rule needs it."""
        ...

    @property
    def auxiliary(self) -> AuxiliaryOf:
        """Its auxiliary tensors, by suffix."""
        ...


class ArrivedParameter(Protocol):
    """A parameter whose tensors have arrived."""

    @property
    def planned(self) -> DescribedParameter:
        """Its description."""
        ...

    @property
    def weight(self) -> Flat:
        """Its weights, flat in C order."""
        ...

    @property
    def values(self) -> Values:
        """Its weights as they are ranked: code times scale, if it has a scale."""
        ...

    @property
    def arrived(self) -> Values:
        """The same as they arrived, whatever rules have changed since."""
        ...

    @property
    def mask(self) -> PackedMask:
        """The entries that are unpruned now."""
        ...

    @property
    def prior(self) -> PackedMask:
        """The entries that were unpruned when it arrived."""
        ...

    @property
    def kept(self) -> Mapping[int, BoolArray]:
        """Of dims along which coupled channels were pruned, the positions that remain."""
        ...

    @property
    def backend(self) -> Backend:
        """Where its weight and masks are."""
        ...

    @property
    def layer(self) -> Layer:
        """Its weight as matrices and what is known of its inputs, made when first asked for.

        Raises: CheckpointError for statistics that cannot be used.
        """
        ...

    def auxiliary(self, suffix: str) -> Flat:
        """Return one of its auxiliary tensors, flat in C order."""
        ...

    def auxiliary_mask(self, suffix: str) -> PackedMask:
        """Return an auxiliary mask of one element per entry. Raises: CheckpointError if it is not 0 and 1."""
        ...

    def nonzero(self) -> PackedMask:
        """Return the entries that are neither zero nor pruned."""
        ...
