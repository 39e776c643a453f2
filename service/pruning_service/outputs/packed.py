"""Format PACKED: each tensor is packed as soon as it leaves the engine, so that little is kept until the last is there.

The format is `pruning_proto.packed.format`; here it is made of tensors in memory, with the engine's threads.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise

import numpy as np

from pruning_engine.buffer import Buffer
from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.execution.parameters import ResultTensor
from pruning_engine.planning.plan import PlannedParameter
from pruning_engine.runtime.threads import in_parallel
from pruning_proto.packed import codec
from pruning_proto.packed import format as packed_format
from pruning_proto.packed.codec import Array
from pruning_proto.packed.format import ENTRIES, Content, Packable, Piece, Spec
from pruning_service.outputs.encoded import EncodedOutput, Encoding

_Span = tuple[int, int]


class PackedOutput(EncodedOutput):
    """An `Output` of packed tensors. Each is held as the tensors that it is stored as, its parts."""

    def __init__(self, parameters: Iterable[PlannedParameter], encoding: Encoding) -> None:
        super().__init__(parameters, encoding)
        self._last: dict[str, Sequence[str]] = dict.fromkeys(encoding.last, ())  # and the names of their parts
        self._packed: dict[str, Packable] = {}
        self._contents: list[Content] = []
        self._moved: list[int] = []

    def encode(self, results: Sequence[ResultTensor]) -> Sequence[ResultTensor]:
        """Return the tensors, each packed, or as it is where packing would take more bytes."""
        encoded = []
        for result in results:
            parts = self._pack(result)
            if result.spec.name in self._last:
                self._last[result.spec.name] = [part.spec.name for part in parts]
            encoded += parts
        return encoded

    def _align(self) -> None:
        """Put the parts in an order in which each is aligned; the dense order is kept in the metadata."""
        self._put_last(chain.from_iterable(self._last.values()))
        by_name = {held.spec.name: held for held in self._held}
        self._contents = self._in_dense_order()
        specs, self._moved = packed_format.arranged(self._contents)
        self._held = deque(by_name[name] for name, _, _ in specs)

    def _in_dense_order(self) -> list[Content]:
        """Return the contents of the dense file, in its order, in which the parts of all are held."""
        tensor_of = {name: tensor for tensor in self._packed.values() for name, _, _ in tensor.parts(0)}
        parts: dict[str, list[Spec]] = {}
        for held in self._held:
            name, tensor = held.spec.name, tensor_of.get(held.spec.name)
            place = name if tensor is None else tensor.bits_name
            parts.setdefault(place, []).append((name, held.spec.dtype, held.spec.shape))
        return [Content(self._packed.get(place), specs) for place, specs in parts.items()]

    def _file_metadata(self, metadata: Mapping[str, str], names: Iterable[str]) -> Mapping[str, str]:  # noqa: ARG002
        """Return the file's metadata, with the shapes of the packed tensors."""
        packed = [content.packed for content in self._contents if content.packed is not None]
        return packed_format.with_shapes(metadata, packed, self._moved)

    def _pack(self, result: ResultTensor) -> list[ResultTensor]:
        spec, data = result.spec, np.asarray(result.data)
        self._count_negative_zeros(data, spec.dtype)
        tensor = packed_format.packable((spec.name, spec.dtype, spec.shape))
        if tensor is None or not tensor.gets_smaller(0):
            return [result]
        pieces = list(tensor.pieces())
        counts = in_parallel(lambda piece: codec.count_nonzero(_part(data, tensor, piece), tensor), pieces)
        if not tensor.gets_smaller(sum(counts)):
            return [result]
        self._packed[tensor.bits_name] = tensor
        return self._parts(data, tensor, pieces, counts)

    def _count_negative_zeros(self, data: Array, dtype: str) -> None:
        step = ENTRIES * 8
        spans = [(begin, min(begin + step, len(data))) for begin in range(0, len(data), step)]

        def count_in(span: _Span) -> int:
            part = data[slice(*span)]
            count = codec.count_negative_zeros(part, dtype)
            if count and self._encoding.canonical_zero:
                part[:] = codec.without_negative_zeros(part, dtype)
            return count

        self.negative_zeros += sum(in_parallel(count_in, spans))

    def _parts(
        self, data: Array, tensor: Packable, pieces: Sequence[Piece], counts: Sequence[int]
    ) -> list[ResultTensor]:
        take = self._encoding.take
        values, bits = take(sum(counts) * tensor.width), take(tensor.bits_bytes)
        into = _Target(values.view(f"u{tensor.width}"), bits)

        def pack(item: tuple[Piece, _Span]) -> Array:
            piece, span = item
            packed = codec.pack(_part(data, tensor, piece), tensor, piece, into.values[slice(*span)])
            into.bits[piece.bits_begin : piece.bits_end] = packed.bits
            return packed.row_counts

        spans = list(pairwise(accumulate(counts, initial=0)))
        row_counts = in_parallel(pack, list(zip(pieces, spans, strict=True)))
        parts = {tensor.values_name: values, tensor.bits_name: bits}
        if tensor.is_matrix:
            parts[tensor.shape_name] = np.array(tensor.shape, np.int64)
            parts[tensor.offsets_name] = codec.row_offsets(row_counts, tensor)
        return [
            ResultTensor(TensorSpec(name, dtype, shape), Buffer.from_bytes(_bytes(parts[name]), dtype, shape))
            for name, dtype, shape in tensor.parts(sum(counts))
        ]


@dataclass(frozen=True, slots=True)
class _Target:
    """Where a tensor's values and mask are written."""

    values: Array
    bits: Array


def _bytes(array: Array) -> Array:
    return array.reshape(-1).view(np.uint8)


def _part(data: Array, tensor: Packable, piece: Piece) -> Array:
    return data[piece.begin * tensor.width : piece.end * tensor.width]
