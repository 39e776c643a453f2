"""A file of `torch.save` converted into a safetensors file: `convert_file`. Needs torch, and no server.

Only tensors and plain values are read (`weights_only=True`), so that no code of the file is run.
"""

import errno
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Final

from pruning_client.checkpoints.atomic_file import replacing
from pruning_client.checkpoints.other_formats import READ_BYTES, description_of, is_torch_saved
from pruning_client.checkpoints.readable import check_regular
from pruning_client.checkpoints.state_dict import StateDictSource
from pruning_client.errors import CheckpointError
from pruning_client.frameworks.base import framework_of, torch_framework
from pruning_proto.names import FRAMEWORK, FRAMEWORK_KEY
from pruning_proto.reasons import Reason
from pruning_proto.safetensors.alignment import aligned
from pruning_proto.safetensors.header import build

NESTED: Final = ("state_dict", "model_state_dict", "model", "module")
"""Keys under which training loops keep a state dict beside other things, in the order in which they are looked for."""

_DEEPEST: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """The result of converting a file.

    Attributes:
        tensors: the number of tensors written.
        bytes: of the file.
        found_under: the keys under which the state dict was found.
        shared: other names of tensors that are written once, each with the name in the file.
        left_out: names of what is not a tensor.
    """

    tensors: int
    bytes: int
    found_under: tuple[str, ...]
    shared: Mapping[str, str]
    left_out: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return asdict(self) | {"shared": dict(self.shared)}


def convert_file(source: str | PathLike[str], out: str | PathLike[str], *, force: bool = False) -> Converted:
    """Write the tensors of a file of `torch.save` as a safetensors file, whole or not at all.

    A tensor with several names is written once, under the first; the others are in the file's metadata, as
    `safetensors.torch.save_model` has them. `out` may exist only with `force`.
    Raises: OSError. ImportError without torch. CheckpointError if the file is damaged, needs code to be read, or has no
    state dict. In all cases `out` is unchanged.
    """
    _check_new(Path(out), force=force)
    _check_torch_saved(Path(source))
    adaptor: Any = _torch()
    keys, found = _state_dict(adaptor.read_weights(os.fspath(source)), os.fspath(source))
    tensors = {name: value for name, value in found.items() if framework_of(value) is not None}
    layout = StateDictSource(tensors)
    entries = aligned(layout.layout.tensors)
    metadata = {FRAMEWORK_KEY: FRAMEWORK, **layout.aliases}
    header, written = build([(entry.name, entry.dtype, entry.shape) for entry in entries], metadata)
    with replacing(out) as file:
        file.write(header)
        for entry in entries:
            file.write(adaptor.view(tensors[entry.name]))
    return Converted(
        tensors=len(entries),
        bytes=written.total_bytes,
        found_under=keys,
        shared=layout.aliases,
        left_out=tuple(str(name) for name in found if name not in tensors),
    )


def _check_new(out: Path, *, force: bool) -> None:
    if not force and os.path.lexists(out):
        raise FileExistsError(errno.EEXIST, "is there already; name a new file, or replace it with --force", str(out))


def _check_torch_saved(source: Path) -> None:
    """Refuse files that `torch.save` did not write. Raises: OSError, CheckpointError."""
    check_regular(source)
    with source.open("rb") as file:
        beginning = file.read(READ_BYTES)
    if not is_torch_saved(beginning):
        known = description_of(beginning) or "this is not a file that torch.save wrote"
        raise CheckpointError(f"{source}: {known}", reason=Reason.INVALID_HEADER)


def _torch() -> object:
    try:
        return torch_framework()
    except ImportError as error:
        raise ImportError(
            f"files of torch.save are read by torch, which is missing: pip install torch ({error})"
        ) from error


def _state_dict(value: object, path: str) -> tuple[tuple[str, ...], Mapping[str, object]]:
    """Return the keys that lead to the state dict, and the state dict."""
    keys: list[str] = []
    while isinstance(value, Mapping) and len(keys) < _DEEPEST:
        nested = next((key for key in NESTED if isinstance(value.get(key), Mapping) and value[key]), None)
        if nested is None:
            break
        keys.append(nested)
        value = value[nested]
    if isinstance(value, Mapping) and any(framework_of(each) is not None for each in value.values()):
        return tuple(keys), value
    has = (
        f"it has the keys {', '.join(map(repr, list(value)[:8]))}" if isinstance(value, Mapping) else "it is not a dict"
    )
    raise CheckpointError(
        f"{path}: no state dict found: {has}, and none of {', '.join(NESTED)} leads to tensors; load it with torch and "
        "save the state dict by itself with safetensors.torch.save_file",
        reason=Reason.INVALID_HEADER,
    )
