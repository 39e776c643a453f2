"""What each method holds at most beside the weight and the Gram matrix that it is given, in bytes.

Measured with tracemalloc on matrices of 300 to 4,096 inputs; a test compares whole calls.
"""

from typing import Final

from pruning_engine.methods import alps, arrays, gram, predicted_error, sparsegpt, swaps
from pruning_engine.methods.preconditioner import RANK, STRIP

_SMALL: Final = 8 << 20
"""What the set-up of a preconditioner takes beside its result: pieces of it on several threads."""

_DOUBLE: Final = 8
"""Bytes of fp64."""


def faults_bytes(columns: int, itemsize: int) -> int:
    """Return the bytes for checking a Gram matrix (C, C)."""
    finite = _block_rows(columns, columns, arrays.BLOCK_ENTRIES) * columns
    tiles = (1 + 4 * itemsize) * min(columns, gram.TILE) ** 2
    faulty = (14 + 2 * itemsize) * _block_rows(columns, columns, gram.FAULTY_ENTRIES) * columns
    return max(finite, tiles, faulty)


def gram_bytes(columns: int, itemsize: int) -> int:
    """Return the bytes for making a Gram matrix of inputs, beside itself."""
    return columns * columns * itemsize + 2 * arrays.BLOCK_ENTRIES * itemsize


def refit_bytes(rows: int, columns: int, itemsize: int) -> int:
    """Return the bytes of `refit`, its result included."""
    some = _block_rows(rows, columns, arrays.block_entries(columns))
    block, rank = some * columns * itemsize, min(RANK, columns // 4)
    set_up = _SMALL + STRIP * rank * (some + columns) * itemsize // 8
    return rows * columns * itemsize + 4 * block + some * rank * rank * itemsize + max(set_up, 2 * block)


def eliminate_bytes(rows: int, columns: int, itemsize: int, block: int) -> int:
    """Return the bytes of SparseGPT's `eliminate`, its result included; the factor apart."""
    panel = min(sparsegpt.PANEL, columns)
    correction = _block_rows(rows, columns, arrays.BLOCK_ENTRIES) * (columns - panel) * itemsize
    within = rows * min(block, columns) * (itemsize + 1)
    return rows * columns * (itemsize + 1) + rows * panel * itemsize + max(correction, within)


def alps_bytes(rows: int, columns: int, itemsize: int) -> int:
    """Return the bytes of `alps`, its result included."""
    matrices = 2 * columns * columns * itemsize
    step = 2 * _block_rows(rows, columns, alps.BLOCK_ENTRIES) * columns * itemsize
    projection = rows * columns * (itemsize + 1)
    return matrices + rows * columns * (2 * itemsize + 3) + max(step, projection)


def swap_bytes(rows: int, columns: int, itemsize: int) -> int:
    """Return the bytes of `swap`, its result included."""
    some, strip = _block_rows(rows, columns, arrays.block_entries(columns)), min(swaps.STRIP, columns)
    products = max(2 * some + columns, some + 2 * columns) * strip * _DOUBLE
    return rows * columns + some * columns * (_DOUBLE + 2 * itemsize + 1) + products


def errors_bytes(rows: int, columns: int, itemsize: int) -> int:
    """Return the bytes of the predicted error of one matrix: its difference, and products with H."""
    strips = 3 * _block_rows(rows, columns, arrays.BLOCK_ENTRIES) * min(columns, predicted_error.STRIP)
    return (rows * columns + strips) * itemsize


def _block_rows(rows: int, columns: int, entries: int) -> int:
    return min(rows, max(1, entries // max(1, columns)))
