"""Form PACKED: each tensor packed as soon as it leaves the engine, so that little is held until the last is there.

The format is `packed_layout`'s; here it is made of tensors in memory, with the engine's threads.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
import torch

from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.runtime.threads import in_parallel
from pruning_proto.packed import codec as packed_arrays
from pruning_proto.packed import format as packed_layout
from pruning_proto.packed.codec import Array
from pruning_proto.packed.format import ENTRIES, Packable, Piece
from pruning_service.outputs.ordered import ResultTensor

_Span = tuple[int, int]


class Packing:
    """What becomes of tensors in form PACKED; a `late_results.Encoder`.

    `take` gives memory of a size. With `canonical` every -0.0 becomes +0.0, in place. `negative_zeros` counts those
    that there were.
    """

    def __init__(self, take: Callable[[int], torch.Tensor], *, canonical: bool) -> None:
        self.negative_zeros = 0
        self._take = take
        self._canonical = canonical
        self._packed: dict[str, Packable] = {}

    def shaped(self, result: ResultTensor) -> list[ResultTensor]:
        """Give what a tensor is packed into; or the tensor itself, where that would take more bytes."""
        spec, data = result.spec, np.asarray(result.data)
        self._look_at_zeros(data, spec.dtype)
        tensor = packed_layout.packable((spec.name, spec.dtype, spec.shape))
        if tensor is None or not tensor.gets_smaller(0):
            return [result]
        pieces = list(tensor.pieces())
        counts = in_parallel(lambda piece: packed_arrays.count_there(_cut(data, tensor, piece), tensor), pieces)
        if not tensor.gets_smaller(sum(counts)):
            return [result]
        self._packed[tensor.bits_name] = tensor
        return self._parts(data, tensor, pieces, counts)

    def metadata(self, metadata: Mapping[str, str], names: Iterable[str]) -> Mapping[str, str]:
        """Give the file's metadata, with the shapes of what is packed."""
        return packed_layout.with_shapes(metadata, [self._packed[name] for name in names if name in self._packed])

    def _look_at_zeros(self, data: Array, dtype: str) -> None:
        step = ENTRIES * 8
        spans = [(begin, min(begin + step, len(data))) for begin in range(0, len(data), step)]

        def look(span: _Span) -> int:
            part = data[slice(*span)]
            count = packed_arrays.count_negative_zeros(part, dtype)
            if count and self._canonical:
                part[:] = packed_arrays.without_negative_zeros(part, dtype)
            return count

        self.negative_zeros += sum(in_parallel(look, spans))

    def _parts(
        self, data: Array, tensor: Packable, pieces: Sequence[Piece], counts: Sequence[int]
    ) -> list[ResultTensor]:
        values, bits = self._take(sum(counts) * tensor.width), self._take(tensor.bits_bytes)
        into = _Parts(values.numpy().view(f"u{tensor.width}"), bits.numpy())

        def pack(item: tuple[Piece, _Span]) -> Array:
            piece, span = item
            packed = packed_arrays.pack(_cut(data, tensor, piece), tensor, piece, into.values[slice(*span)])
            into.bits[piece.bits_begin : piece.bits_end] = packed.bits
            return packed.row_counts

        spans = list(pairwise(accumulate(counts, initial=0)))
        row_counts = in_parallel(pack, list(zip(pieces, spans, strict=True)))
        there = {tensor.values_name: values, tensor.bits_name: bits}
        if tensor.is_matrix:
            there[tensor.shape_name] = torch.tensor(tensor.shape, dtype=torch.int64)
            there[tensor.offsets_name] = torch.from_numpy(packed_arrays.row_offsets(row_counts, tensor))
        return [ResultTensor(TensorSpec(*part), there[part[0]]) for part in tensor.parts(sum(counts))]


@dataclass(frozen=True, slots=True)
class _Parts:
    """Where a tensor's values and mask go."""

    values: Array
    bits: Array


def _cut(data: Array, tensor: Packable, piece: Piece) -> Array:
    return data[piece.begin * tensor.width : piece.end * tensor.width]
