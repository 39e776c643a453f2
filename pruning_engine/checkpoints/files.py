"""safetensors files and state dicts: read without a copy, write, and refuse other files.

Tensors that are read are views over the mapped file; the operating system brings their bytes in when they are first
used. Pickles are never opened: reading one runs the code in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import safetensors
import safetensors.torch
import torch

from pruning_engine.checkpoints.shared_tensors import find_shared_tensors
from pruning_engine.errors import CheckpointError, Reason

_ZIP: Final = b"PK\x03\x04"
"""How a file begins that torch.save wrote; since torch 1.6 it is a zip archive of a pickle."""

_PICKLE: Final = b"\x80"
"""How older ones begin, and any pickle of protocol 2 and later."""

_PREFIX_BYTES: Final = 8
_JSON_BEGINS: Final = b"{"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A safetensors file's tensors, in the order of their bytes, and its metadata."""

    state_dict: dict[str, torch.Tensor]
    metadata: dict[str, str]


def load(path: str | Path) -> Checkpoint:
    """Read a safetensors file without a copy: the tensors stay views over it, writable but never written back.

    Raises: CheckpointError if it is a pickle, or not a valid safetensors file; OSError as opening a file does.
    """
    path = Path(path)
    refuse_pickle(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.offset_keys()}
            return Checkpoint(tensors, dict(file.metadata() or {}))
    except safetensors.SafetensorError as error:
        raise CheckpointError(
            Reason.INVALID_HEADER, f"{path} is not a valid safetensors file: {error}; was it cut short in transfer?"
        ) from error


def save(state_dict: Mapping[str, torch.Tensor], path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file. The format cannot tie tensors: each name of a tied one is written in full."""
    aliases = find_shared_tensors(state_dict).dropped
    tensors = {
        name: tensor.detach().clone().contiguous() if name in aliases else tensor.detach().contiguous()
        for name, tensor in state_dict.items()
    }
    safetensors.torch.save_file(tensors, path, dict(metadata) if metadata else None)


def refuse_pickle(path: Path) -> None:
    """Refuse a file that torch.save or pickle wrote.

    Raises: CheckpointError that says how to convert it.
    """
    with path.open("rb") as file:
        begin = file.read(_PREFIX_BYTES + 1)
    if begin.startswith(_ZIP) or (begin.startswith(_PICKLE) and begin[_PREFIX_BYTES:] != _JSON_BEGINS):
        raise CheckpointError(
            Reason.INVALID_HEADER,
            f"{path} is a pickle, which is never opened here because reading it runs the code in it; convert it where "
            f"you trust it: safetensors.torch.save_file(torch.load(path, weights_only=True), target)",
        )
