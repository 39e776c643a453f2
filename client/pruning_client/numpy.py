"""Packed files as numpy arrays: `load_packed`. Needs numpy. State dicts of arrays go to `Client.prune` as they are."""

from os import PathLike

from pruning_client.checkpoints.compressed import read_packed
from pruning_client.frameworks.numpy import Array, tensor

__all__ = [
    "Array",
    "load_packed",
]


def load_packed(path: str | PathLike[str]) -> dict[str, Array]:
    """Return the arrays of a packed file as they were before packing. They share one block of memory.

    Shape: of each as before packing.
    Raises: OSError. CheckpointError if the file is not packed, or damaged. ImportError without `ml_dtypes` for a
    dtype that needs it.
    Example:
        >>> client.prune({"fc.weight": np.ones((64, 64))}, rules.l1_unstructured(0.5), output="packed").save("packed")
        >>> pruning_client.numpy.load_packed("packed")["fc.weight"].shape
        (64, 64)
    """
    layout, buffer = read_packed(path)
    return {entry.name: tensor(entry, buffer[entry.begin : entry.end]) for entry in layout.tensors}
