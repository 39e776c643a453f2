"""The compiled backends that this machine has, one for each instruction set; none where they are not installed."""

from collections.abc import Iterator

from pruning_engine.kernels.compiled.backend import CompiledBackend
from pruning_engine.kernels.compiled.library import NUMPY, available_kernels
from pruning_engine.runtime.threads import PIECE_ENTRIES

COMPILED = [name for name in available_kernels() if name != NUMPY]


def compiled(piece_entries: int = PIECE_ENTRIES) -> Iterator[CompiledBackend]:
    return (CompiledBackend(level, piece_entries) for level in COMPILED)
