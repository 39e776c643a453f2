"""What is kept of the inputs of a layer: sums in fp64, and a sample of rows. Each belongs to one input."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor

from pruning_client.statistics.names import Kind
from pruning_proto.names import IN_COUNT, IN_GRAM, IN_SUM, IN_SUM2, INPUTS

Sampling: TypeAlias = Literal["random", "first"]

_ROWS: Final = 4096
"""Rows that are converted to fp64 at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SumsOptions:
    """What is kept: see `collect_statistics`."""

    kind: Kind = "norms"
    gram_dtype: torch.dtype = torch.float32
    sample_rows: int = 2048
    sampling: Sampling = "random"
    seed: int = 0


class Sums:
    """The sums of one input of `channels` channels, or of one for each of `experts`.

    Cost: for kind "gram" 8 bytes for each pair of channels while it collects.
    """

    def __init__(self, options: SumsOptions, channels: int, device: torch.device, experts: int | None = None) -> None:
        place = torch.device("cpu") if device.type == "mps" else device  # which has no fp64
        stack = () if experts is None else (experts,)
        self._options = options
        self._sum2 = torch.zeros((*stack, channels), dtype=torch.float64, device=place)
        self._sum = torch.zeros_like(self._sum2)
        self._count = torch.zeros(stack, dtype=torch.float64, device=place)
        self._gram: Tensor | None = None
        self._sample: Sample | None = None
        if options.kind == "gram":
            self._gram = torch.zeros((*stack, channels, channels), dtype=torch.float64, device=place)
        if options.kind == "inputs":
            self._sample = Sample(options)

    @property
    def tokens(self) -> int:
        """The number of rows so far."""
        return int(self._count.sum())

    @property
    def counts(self) -> list[int]:
        """The number of rows of each expert so far."""
        return [int(count) for count in self._count.tolist()]

    @property
    def is_finite(self) -> bool:
        """Whether all sums are finite."""
        return bool(self._sum2.isfinite().all() & self._sum.isfinite().all())

    def add(self, rows: Tensor, expert: int | None = None) -> None:
        """Add inputs. Shape: (rows, channels)."""
        at = () if expert is None else (expert,)
        self._count[at] += len(rows)
        for block in torch.split(rows, _ROWS):
            exact = block.to(device=self._sum.device, dtype=torch.float64)
            self._sum[at] += exact.sum(0)
            self._sum2[at] += exact.square().sum(0)
            if self._gram is not None:
                self._gram[at].addmm_(exact.T, exact)
        if self._sample is not None:
            self._sample.add(rows)

    def take(self) -> dict[str, Tensor]:
        """Return the statistics by suffix, and release the Gram matrix. It is symmetric to the last bit."""
        found = {IN_SUM2: self._sum2, IN_SUM: self._sum, IN_COUNT: self._count}
        if self._gram is not None:
            upper, self._gram = self._gram.triu().to(self._options.gram_dtype), None
            found[IN_GRAM] = _without_underflow(upper + upper.triu(1).mT)
        if self._sample is not None:
            found[INPUTS] = self._sample.rows
        return found


def _without_underflow(gram: Tensor) -> Tensor:
    """Return a Gram matrix, with zeros for channels whose own sum of squares is too small for its dtype.

    MiniLM has an input of 1e-32. In fp32 its square is 0, and its products with others are not, which no matrix of
    the form XᵀX can have.
    """
    vanished = gram.diagonal(dim1=-2, dim2=-1) < torch.finfo(gram.dtype).tiny
    if vanished.any():
        gram.masked_fill_(vanished.unsqueeze(-1) | vanished.unsqueeze(-2), 0.0)
    return gram


class Sample:
    """At most `sample_rows` of all rows: the first, or each with the same probability."""

    def __init__(self, options: SumsOptions) -> None:
        self._limit = options.sample_rows
        self._is_random = options.sampling == "random"
        self._generator = torch.Generator().manual_seed(options.seed)
        self._keys = torch.empty(0, dtype=torch.float64)
        self.rows: Tensor = torch.empty(0)
        """The sampled rows, in the order of the batches."""

    def add(self, rows: Tensor) -> None:
        """Take from more rows. Each row has a random key, and the largest keys stay: a reservoir."""
        keys = torch.rand(len(rows), dtype=torch.float64, generator=self._generator)
        if not self._is_random:
            keys = torch.arange(-float(len(self._keys)), -float(len(self._keys) + len(rows)), -1, dtype=torch.float64)
        every = torch.cat([self._keys, keys])
        kept = every.topk(min(self._limit, len(every))).indices.sort().values
        new = kept[kept >= len(self._keys)] - len(self._keys)
        if len(new) == 0:
            return
        old = kept[kept < len(self._keys)]
        earlier = [self.rows[old.to(self.rows.device)]] if len(old) else []
        self.rows = torch.cat([*earlier, rows.detach()[new.to(rows.device)]])
        self._keys = every[kept]
