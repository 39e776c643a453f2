"""Packed files as numpy arrays: `load_packed`. Needs numpy.

The adaptor that sends numpy arrays is `frameworks.numpy`; its verbs are public here too.
"""

from os import PathLike

from pruning_client.checkpoints.compressed import read_packed
from pruning_client.frameworks.numpy import (
    FORMAT,
    Array,
    apply_mask_,
    check_changeable,
    describe,
    identity,
    tensor,
    view,
)

__all__ = [
    "FORMAT",
    "Array",
    "apply_mask_",
    "check_changeable",
    "describe",
    "identity",
    "load_packed",
    "tensor",
    "view",
]


def load_packed(path: str | PathLike[str]) -> dict[str, Array]:
    """Return the arrays of a packed file as they were before packing. They share one block of memory.

    Raises: OSError. CheckpointError if the file is not packed, or damaged. ImportError without `ml_dtypes` for a
    dtype that needs it.
    """
    layout, buffer = read_packed(path)
    return {entry.name: tensor(entry, buffer[entry.begin : entry.end]) for entry in layout.tensors}
