"""What packing or unpacking a file came to."""

from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any, TypeAlias

Path: TypeAlias = str | PathLike[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedFile:
    """The result of packing a file, or of unpacking one.

    Units: bytes, of the whole file before and after. `packed` counts the tensors that are packed in it, of `tensors`.
    `negative_zeros` counts the entries of -0.0 that there were before packing; None for unpacking.

    Example:
        >>> client.prune({"fc.weight": np.ones((64, 64))}, rules.l1_unstructured(0.9)).save("sparse.safetensors")
        >>> packed = pack_file("sparse.safetensors", "sparse.packed")
        >>> packed.tensors, packed.packed, packed.packed_bytes < packed.dense_bytes / 5
        (1, 1, True)
    """

    tensors: int
    packed: int
    dense_bytes: int
    packed_bytes: int
    negative_zeros: int | None = None

    @property
    def ratio(self) -> float:
        """The packed file's part of the dense one's bytes."""
        return self.packed_bytes / self.dense_bytes

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return asdict(self) | {"ratio": self.ratio}
