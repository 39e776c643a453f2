"""How the |w| of all tensors of a model are distributed. Needs numpy, which is imported with this module."""

from collections.abc import Mapping
from os import PathLike

from pruning_client.models.magnitudes import DISTRIBUTED, magnitudes
from pruning_client.models.magnitudes_value import Magnitudes
from pruning_client.models.model_tensors import open_model


def distributions(path: str | PathLike[str]) -> Mapping[str, Magnitudes]:
    """Return the distribution of each tensor of floating point numbers, by its name.

    Raises: OSError. CheckpointError.
    """
    return {
        name: magnitudes(tensor.dtype, tensor.pieces())
        for name, tensor in open_model(path).tensors.items()
        if tensor.dtype in DISTRIBUTED
    }
