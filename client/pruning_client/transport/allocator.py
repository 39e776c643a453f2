"""How this process's C allocator treats the blocks that messages are made in."""

from typing import Final

from pruning_proto.limits import MIB

BLOCK_BYTES: Final = 16 * MIB
"""Larger than any message."""


def keep_freed_blocks() -> None:
    """Let glibc keep the memory of a message that is freed for the next one. Cost: microseconds; touches no memory.

    Else it gives each block of 2 MiB back to the system, and touching fresh pages costs more than the copy into them.
    glibc raises its thresholds by itself as soon as a larger block is freed, as most programs that load a model have
    done; here one is made and freed. Elsewhere it does nothing.
    Source: mallopt(3), M_MMAP_THRESHOLD: "dynamic mmap threshold".
    """
    bytes(BLOCK_BYTES)  # zeros of calloc: mapped, and never touched
