"""Statistics as a safetensors file: tensors as calls send them, and everything else as JSON in the metadata."""

import json
from collections.abc import Iterable, Mapping
from functools import partial
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, Final, get_args

from pruning_client.checkpoints.atomic_file import replacing
from pruning_client.checkpoints.file import FileSource
from pruning_client.checkpoints.readable import DISK, Files
from pruning_client.errors import CheckpointError, layout_error
from pruning_client.statistics.names import UNIT_STATISTICS, Kind
from pruning_client.statistics.tensor import StatisticsTensor
from pruning_proto.names import FRAMEWORK, FRAMEWORK_KEY, STATISTICS
from pruning_proto.reasons import Reason
from pruning_proto.safetensors.header import LayoutError, build

if TYPE_CHECKING:
    from pruning_client.statistics.value import StatisticsValue

KEY: Final = "pruning.statistics.v1"
"""The key of the metadata: a JSON object with `version`, `kind`, `aliases`, `input_dims` and the others."""

VERSION: Final = 1

_SUFFIXES: Final = (*STATISTICS, *UNIT_STATISTICS)

_MAPS: Final = ("aliases", "input_dims", "tokens", "module_names", "skipped")


def save(statistics: "StatisticsValue", path: str | PathLike[str]) -> None:
    """Write statistics, whole or not at all. Raises: OSError."""
    about = {
        "version": VERSION,
        "kind": statistics.kind,
        "model_type": statistics.model_type,
        "unmapped": list(statistics.unmapped),
        **{name: dict(getattr(statistics, name)) for name in _MAPS},
    }
    described = [(name, tensor.dtype, tensor.shape) for name, tensor in statistics.tensors.items()]
    try:
        header, _ = build(described, {FRAMEWORK_KEY: FRAMEWORK, KEY: json.dumps(about, ensure_ascii=False)})
    except LayoutError as error:
        raise layout_error(error, fspath(path)) from error
    with replacing(path) as file:
        file.write(header)
        for tensor in statistics.tensors.values():
            for piece in tensor.pieces():
                file.write(piece)


def load(path: str | PathLike[str], files: Files = DISK) -> dict[str, Any]:
    """Return the fields of the `Statistics` in a file. Raises: as `Statistics.load`."""
    source = FileSource(path, files)
    about = _about(source)
    names = [entry.name for entry in source.layout.tensors]
    _check_names(source.path, (*names, *about["aliases"], *about["aliases"].values()))
    missing = sorted(set(about["aliases"].values()) - set(names))
    if missing:
        raise _error(source.path, f"an alias names {missing[0]!r}, which is not in the file")
    tensors = {
        entry.name: StatisticsTensor(entry.dtype, entry.shape, partial(source.read, entry.begin, entry.end))
        for entry in source.layout.tensors
    }
    return {"tensors": tensors, **about}


def _about(source: FileSource) -> dict[str, Any]:
    text = source.layout.metadata.get(KEY)
    if text is None:
        raise _error(
            source.path,
            f"has no statistics (its metadata lacks {KEY!r}): give a file that `Statistics.save` wrote; for "
            "llama.cpp's imatrix files use `Statistics.from_imatrix`",
        )
    try:
        about = json.loads(text)
        version = about["version"]
        if version != VERSION:
            raise _error(source.path, f"has statistics of version {version!r}, and this client reads {VERSION}")
        return _fields(about)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise _error(source.path, f"has damaged statistics: {KEY!r} in its metadata cannot be read") from error


def _fields(about: Mapping[str, Any]) -> dict[str, Any]:
    if about["kind"] not in get_args(Kind):
        raise ValueError(about["kind"])
    if not all(about["module_names"].values()):
        raise ValueError("a module that has no names in files")
    json.dumps(about, ensure_ascii=False).encode()  # refuses halves of surrogate pairs, which no file can have
    names = {
        name: other if isinstance(other, str) else tuple(map(str, other))
        for name, other in about["module_names"].items()
    }
    return {
        "kind": about["kind"],
        "model_type": str(about["model_type"]),
        "unmapped": tuple(map(str, about["unmapped"])),
        "aliases": {str(name): str(other) for name, other in about["aliases"].items()},
        "input_dims": {name: int(dim) for name, dim in about["input_dims"].items()},
        "tokens": {name: int(count) for name, count in about["tokens"].items()},
        "skipped": {name: str(reason) for name, reason in about["skipped"].items()},
        "module_names": names,
    }


def _check_names(path: str, names: Iterable[str]) -> None:
    for name in names:
        if not name.endswith(_SUFFIXES):
            raise _error(path, f"tensor {name!r} is not a statistic; these end in {', '.join(_SUFFIXES)}")


def _error(path: str, description: str) -> CheckpointError:
    return CheckpointError(f"{path}: {description}", reason=Reason.INVALID_HEADER)
