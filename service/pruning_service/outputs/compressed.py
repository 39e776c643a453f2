"""Format PACKED with zstd: each tensor is compressed as soon as it leaves the engine, and held until the last is there.

The format is `pruning_proto.packed.frames`; the bytes are those that `prune pack --zstd` writes for the pruned file.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from pruning_engine.buffer import Buffer
from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.execution.parameters import ResultTensor
from pruning_engine.planning.plan import PlannedParameter
from pruning_engine.runtime.threads import in_parallel
from pruning_proto.packed import frame_codec, frames
from pruning_proto.packed.codec import Array
from pruning_proto.packed.format import ENTRIES, Spec
from pruning_proto.spans import spans
from pruning_service.outputs.deferred import DeferredOutput


class CompressedOutput(DeferredOutput):
    """An `Output` of tensors in zstd frames. `last`, `take` and `canonical_zero` are as of a `PackedOutput`."""

    def __init__(
        self,
        parameters: Iterable[PlannedParameter],
        last: Sequence[str],
        take: Callable[[int], Array],
        *,
        canonical_zero: bool,
    ) -> None:
        super().__init__(parameters)
        self._last = last
        self._take = take
        self._canonical_zero = canonical_zero
        self._dense: dict[str, Spec] = {}

    def encode(self, results: Sequence[ResultTensor]) -> Sequence[ResultTensor]:
        """Return the tensors, each as its frames."""
        return [self._compressed(result) for result in results]

    def _align(self) -> None:
        """Put the tensors in the order of the dense file. Frames are bytes, and aligned anywhere."""
        by_name = {held.spec.name: held for held in self._held}
        moved = [by_name.pop(name) for name in self._last]
        self._held = deque([*by_name.values(), *moved])

    def _header(self, metadata: Mapping[str, str]) -> bytes:
        """Return the file's header, with dtype and shape of each tensor, in the space that is left for it."""
        dense = [self._dense[held.spec.name] for held in self._held]
        return frames.header(dense, [held.spec.nbytes for held in self._held], metadata)

    def _compressed(self, result: ResultTensor) -> ResultTensor:
        name, dtype = result.spec.name, result.spec.dtype
        self._dense[name] = (name, dtype, result.spec.shape)
        pieces = self._pieces(result.data, dtype)
        whole, begin = self._take(sum(map(len, pieces))), 0
        for piece in pieces:
            whole[begin : begin + len(piece)] = np.frombuffer(piece, np.uint8)
            begin += len(piece)
        shape = (len(whole),)
        return ResultTensor(TensorSpec(name, "U8", shape), Buffer.from_bytes(whole, "U8", shape))

    def _pieces(self, data: memoryview, dtype: str) -> list[bytes]:
        """Return the frames of a tensor, each with its prefix, and count its -0.0."""

        def encoded(span: tuple[int, int]) -> tuple[bytes, int]:
            return frame_codec.encode_counting(data[slice(*span)], dtype, canonical_zero=self._canonical_zero)

        found = in_parallel(encoded, list(spans(len(data), ENTRIES * frames.width_of(dtype))))
        self.negative_zeros += sum(count for _, count in found)
        return [piece for piece, _ in found]
