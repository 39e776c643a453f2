"""The size of a layer that calibrated scores and updates compute with, and what every one of them takes."""

from pruning_engine.checkpoints.statistics import LayerSize
from pruning_engine.kernels.input_matrix import computed_dtype, input_layout
from pruning_engine.methods.memory import errors_bytes, faults_bytes, gram_bytes


def layer_size(name: str, shape: tuple[int, ...], dtype: str, input_dim: int) -> LayerSize:
    """Return the size of a weight as matrices. Raises: UnfitInputDimError."""
    layout = input_layout(name, shape, input_dim)
    itemsize = computed_dtype(dtype).itemsize
    return LayerSize(matrices=layout.matrices, rows=layout.rows, columns=layout.columns, itemsize=itemsize)


def checked_bytes(size: LayerSize, *, is_made: bool) -> int:
    """Return the bytes for checking the Gram matrices; `is_made`: and for making them of inputs."""
    making = gram_bytes(size.columns, size.itemsize) if is_made else 0
    return max(making, faults_bytes(size.columns, size.itemsize))


def error_bytes(size: LayerSize, *, is_changed: bool) -> int:
    """Return the bytes for the predicted errors of a layer; `is_changed`: its weights have new values."""
    copies = 2 if is_changed else 1
    return copies * size.entries * size.itemsize + errors_bytes(size.rows, size.columns, size.itemsize)
