"""Models to send: the shapes of a real one, small ones, and files too large to be made in memory. No torch."""

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pruning_proto.safetensors.header import build

Array = NDArray[Any]

LAYERS: Final = 12
SHAPES: Final = {
    "q": (768, 768),
    "k": (768, 768),
    "v": (768, 768),
    "o": (768, 768),
    "up": (3072, 768),
    "down": (768, 3072),
}
ENTRY_BYTES: Final = 4
LARGE_TENSOR: Final = (50_000, 1_000)
"""200 MB of fp32."""


def transformer() -> dict[str, Array]:
    """Return 85 million random weights in the 72 matrices of 12 layers."""
    random = np.random.default_rng()
    return {
        f"{layer}.{name}.weight": random.standard_normal(shape, np.float32)
        for layer in range(LAYERS)
        for name, shape in SHAPES.items()
    }


def model_of(entries: int) -> dict[str, Array]:
    """Return `entries` random weights in tensors of at most 50 million."""
    random = np.random.default_rng()
    largest = LARGE_TENSOR[0] * LARGE_TENSOR[1]
    counts = [min(largest, entries - begin) for begin in range(0, entries, largest)]
    return {f"{index}.weight": random.standard_normal((1, count), np.float32) for index, count in enumerate(counts)}


def write_large(path: Path, total_bytes: int) -> None:
    """Write a safetensors file of 200 MB tensors, one at a time; at least one.

    Drawn once and turned by another number of entries for each tensor: drawing them all would take minutes.
    """
    entries = LARGE_TENSOR[0] * LARGE_TENSOR[1]
    count = max(1, total_bytes // (entries * ENTRY_BYTES))
    header, _ = build(((f"{index}.weight", "F32", LARGE_TENSOR) for index in range(count)), {})
    drawn = np.random.default_rng().standard_normal(entries, np.float32)
    with path.open("wb") as file:
        file.write(header)
        for index in range(count):
            turn = index * 1_000_003 % entries
            file.write(drawn[turn:].data)
            file.write(drawn[:turn].data)
