"""Format PACKED with zstd: each tensor is compressed as soon as it leaves the engine, and held until the last is there.

The format is `pruning_proto.packed.frames`; the bytes are those that `prune pack --zstd` writes for the pruned file.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from pruning_engine.buffer import Buffer
from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.execution.parameters import ResultTensor
from pruning_engine.planning.plan import PlannedParameter
from pruning_engine.runtime.threads import in_parallel
from pruning_proto.packed import frame_codec, frames
from pruning_proto.packed.format import ENTRIES, Spec
from pruning_proto.spans import spans
from pruning_service.outputs.encoded import EncodedOutput, Encoding


class CompressedOutput(EncodedOutput):
    """An `Output` of tensors in zstd frames."""

    def __init__(self, parameters: Iterable[PlannedParameter], encoding: Encoding) -> None:
        super().__init__(parameters, encoding)
        self._dense: dict[str, Spec] = {}

    def encode(self, results: Sequence[ResultTensor]) -> Sequence[ResultTensor]:
        """Return the tensors, each as its frames."""
        return [self._compressed(result) for result in results]

    def _align(self) -> None:
        """Put the tensors in the order of the dense file. Frames are bytes, and aligned anywhere."""
        self._put_last(self._encoding.last)

    def _header(self, metadata: Mapping[str, str]) -> bytes:
        """Return the file's header, with dtype and shape of each tensor, in the space that is left for it."""
        dense = [self._dense[held.spec.name] for held in self._held]
        return frames.header(dense, [held.spec.nbytes for held in self._held], metadata)

    def _compressed(self, result: ResultTensor) -> ResultTensor:
        name, dtype = result.spec.name, result.spec.dtype
        self._dense[name] = (name, dtype, result.spec.shape)
        pieces = self._pieces(result.data, dtype)
        whole, begin = self._encoding.take(sum(map(len, pieces))), 0
        for piece in pieces:
            whole[begin : begin + len(piece)] = np.frombuffer(piece, np.uint8)
            begin += len(piece)
        shape = (len(whole),)
        return ResultTensor(TensorSpec(name, "U8", shape), Buffer.from_bytes(whole, "U8", shape))

    def _pieces(self, data: memoryview, dtype: str) -> list[bytes]:
        """Return the frames of a tensor, each with its prefix, and count its -0.0."""

        def encoded(span: tuple[int, int]) -> tuple[bytes, int]:
            return frame_codec.encode_counting(data[slice(*span)], dtype, canonical_zero=self._encoding.canonical_zero)

        found = in_parallel(encoded, list(spans(len(data), ENTRIES * frames.width_of(dtype))))
        self.negative_zeros += sum(count for _, count in found)
        return [piece for piece, _ in found]
