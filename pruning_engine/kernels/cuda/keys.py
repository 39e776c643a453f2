"""Keys of a tensor's entries in torch operations.

torch's unsigned integers lack most operations, so keys are signed here: those of narrow dtypes fit, and those that
take all 64 bits have their top bit flipped, which keeps the order. On the host all keys are uint64.
"""

from typing import Any, Final, Protocol

import numpy.typing as npt
import torch

from pruning_engine.dtypes import is_float
from pruning_engine.kernels.channel_layout import ChannelLayout
from pruning_engine.kernels.cuda.values import SIGNED, NumberReader, Values
from pruning_engine.kernels.magnitude_keys import highest_key, largest_number, magnitude_bits
from pruning_engine.kernels.products import batches_of, factor_indices
from pruning_engine.kernels.random_keys import GOLDEN, MASK64, MIX
from pruning_engine.kernels.scaled_weights import ScaledWeights
from pruning_engine.torch_tensors import TORCH_DTYPES

_TOP_BIT: Final = 2**63
_FULL_WIDTH: Final = frozenset({"I64", "U64"})


class Keys(Protocol):
    """Computes the keys of a tensor's entries, as torch integers: `key - offset` for each key."""

    device: torch.device
    offset: int
    highest: int
    largest_number: int | None

    def read(self, begin: int, end: int) -> torch.Tensor:
        """Return the keys from `begin` to `end`."""
        ...

    def at(self, positions: torch.Tensor) -> torch.Tensor:
        """Return the keys at `positions`."""
        ...


class MagnitudeKeys:
    """Magnitudes, compared as values of `domain`."""

    def __init__(self, flat: torch.Tensor, domain: str) -> None:
        self.device = flat.device
        self.offset = _TOP_BIT if domain in _FULL_WIDTH else 0
        self.highest = highest_key(domain)
        self.largest_number = largest_number(domain)
        self._flat = flat
        self._domain = domain

    def read(self, begin: int, end: int) -> torch.Tensor:
        """Return the keys from `begin` to `end`."""
        return self._keys(self._flat[begin:end])

    def at(self, positions: torch.Tensor) -> torch.Tensor:
        """Return the keys at `positions`."""
        bits = self._flat.view(SIGNED[self._flat.dtype.itemsize])[positions]
        return self._keys(bits.view(self._flat.dtype))

    def _keys(self, values: torch.Tensor) -> torch.Tensor:
        if is_float(self._domain):
            wide = values.to(TORCH_DTYPES[self._domain])
            return wide.view(SIGNED[wide.dtype.itemsize]) & magnitude_bits(self._domain)
        if self._domain == "U64":
            return values.view(torch.int64) ^ -_TOP_BIT
        if self._domain == "I64":
            return values.abs() ^ -_TOP_BIT  # the least one stays itself, which is 2^63 read without a sign
        return values.to(torch.int64).abs()


class ScaledKeys:
    """Magnitudes of scaled weights, in fp64."""

    offset = 0

    def __init__(self, weights: ScaledWeights) -> None:
        self.highest = highest_key("F64")
        self.largest_number = largest_number("F64")
        self._numbers = NumberReader(weights)
        self.device = self._numbers.flat.device

    def read(self, begin: int, end: int) -> torch.Tensor:
        """Return the keys from `begin` to `end`."""
        return self._keys(self._numbers.read(begin, end, torch.float64))

    def at(self, positions: torch.Tensor) -> torch.Tensor:
        """Return the keys at `positions`."""
        return self._keys(self._numbers.at(positions, torch.float64))

    def _keys(self, numbers: torch.Tensor) -> torch.Tensor:
        return numbers.view(torch.int64) & self.highest


class ProductKeys:
    """|x| * factor, computed in `domain`, F32 or F64. Factors are finite numbers from 0, one per channel."""

    offset = 0

    def __init__(self, values: Values, factors: npt.NDArray[Any], layout: ChannelLayout, domain: str) -> None:
        self.highest = highest_key(domain)
        self.largest_number = largest_number(domain)
        self._numbers = NumberReader(values)
        self.device = self._numbers.flat.device
        self._kind = TORCH_DTYPES[domain]
        self._factors = torch.from_numpy(factors).to(device=self.device, dtype=self._kind)
        self._layout = layout
        self._batches = batches_of(layout, len(factors))

    def read(self, begin: int, end: int) -> torch.Tensor:
        """Return the keys from `begin` to `end`."""
        positions = torch.arange(begin, end, device=self.device)
        return self._keys(self._numbers.read(begin, end, self._kind), positions)

    def at(self, positions: torch.Tensor) -> torch.Tensor:
        """Return the keys at `positions`."""
        return self._keys(self._numbers.at(positions, self._kind), positions)

    def _keys(self, numbers: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        indices = factor_indices(positions, self._layout, self._batches)
        products = numbers.abs() * self._factors[indices]
        keys: torch.Tensor = products.view(SIGNED[self._kind.itemsize]) & self.highest
        return keys


class RandomKeys:
    """splitmix64 of the index: see random_keys.py. int64 wraps around as uint64 does."""

    offset = _TOP_BIT
    highest = MASK64
    largest_number: int | None = None

    def __init__(self, key: int, device: torch.device) -> None:
        self.device = device
        self._start = _signed(key + GOLDEN)

    def read(self, begin: int, end: int) -> torch.Tensor:
        """Return the keys from `begin` to `end`."""
        return self.at(torch.arange(begin, end, dtype=torch.int64, device=self.device))

    def at(self, positions: torch.Tensor) -> torch.Tensor:
        """Return the keys at `positions`."""
        value = positions * _signed(GOLDEN) + self._start
        for shift, factor in MIX:
            value = value ^ (value >> shift & (1 << 64 - shift) - 1)  # a shift without the sign
            if factor is not None:
                value = value * _signed(factor)
        return value ^ -_TOP_BIT


def magnitude_keys(values: Values, domain: str) -> Keys:
    """Return the keys of magnitudes as values of `domain`."""
    return ScaledKeys(values) if isinstance(values, ScaledWeights) else MagnitudeKeys(values.tensor, domain)


def _signed(value: int) -> int:
    """Return the low 64 bits of a number as int64."""
    return (value + _TOP_BIT) % (2 * _TOP_BIT) - _TOP_BIT
