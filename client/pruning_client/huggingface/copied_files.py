"""Which files of a model's folder are copied beside its pruned weights, and which hold the same weights unpruned.

A loader may prefer a variant, another framework's file or a consolidated one, and would then use unpruned weights. So
what may hold the model's weights is left out, at any depth. Weights of other modules, such as the `2_Dense` of
sentence-transformers, are copied: they share no tensor name with the model.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from pruning_client.checkpoints.file import FileSource
from pruning_client.checkpoints.pipeline import components_of
from pruning_client.checkpoints.readable import DISK, Files
from pruning_client.checkpoints.shards import is_index
from pruning_client.errors import PruningError

_FOLDERS: Final = ("original", "onnx", "openvino", "coreml", "gguf", "tflite", "checkpoint-[0-9]*", "*.mlpackage")
"""Folders of the same weights in another format, or of an earlier state of them."""

_ANYWHERE: Final = (
    *("*.onnx", "*.onnx_data*", "*.onnx.data", "*.gguf", "*.ggml", "*.tflite", "openvino_*model*", "consolidated*"),
    *("tf_model*.h5", "flax_model*.msgpack", "rust_model.ot", "*.pdparams"),
)

_BESIDE: Final = (
    *("*.safetensors", "*.safetensors.index*.json", "*.bin", "*.bin.index*.json", "*.pt", "*.pth", "*.ckpt"),
    *("*.h5", "*.msgpack", "*.ot", "*.npz"),
)
"""Files of weights beside the model's own: variants, shards under any numbering, other frameworks."""

_OTHER: Final = (
    *("training_args.*", "optimizer*", "scheduler*", "rng_state*", "scaler*", "tokenizer*", "vocab*"),
    *("adapter_model.safetensors", "adapter_model.bin"),
)
"""Files with such names that hold no weights of the model: states of training, tokenizers, adapters."""

_ADAPTERS: Final = ("adapter_model.safetensors", "adapter_model.bin", "adapter_config.json")

_NEVER: Final = (".git", ".prune-*.part")
"""A repository, and unfinished results: of no interest to those who read what was left out."""


def is_never_copied(name: str) -> bool:
    """Whether a file or folder of this name is never copied, be it written while others are."""
    return any(fnmatch(name, pattern) for pattern in _NEVER)


def left_out(source: Path, weights: Path, *, has_removed: bool, files: Files = DISK) -> frozenset[Path]:
    """Return the files and folders that are not copied.

    `weights` is what `folder.weights_of` returns. `has_removed`: its tensors get smaller, so that adapters no
    longer fit them. `files` has the bytes of weights.
    """
    return frozenset(_left_out(source, weights, files, has_removed=has_removed))


def described(source: Path, weights: Path, *, has_removed: bool, files: Files = DISK) -> list[str]:
    """Return what is left out besides the pruned weights, as paths in the folder, in order; folders end with /."""
    own = _files_of(weights)
    found = [path for path in left_out(source, weights, has_removed=has_removed, files=files) if path not in own]
    paths = [f"{path.relative_to(source).as_posix()}{'/' * path.is_dir()}" for path in found if not _any(path, _NEVER)]
    return sorted(paths)


def _left_out(source: Path, weights: Path, bytes_of: Files, *, has_removed: bool) -> Iterator[Path]:
    models = [each.weights for each in components_of(weights)]
    homes = {source, *(path.parent for path in models)}
    names: frozenset[str] | None = None
    for folder, folders, files in os.walk(source, followlinks=True):
        here = Path(folder)
        for name in list(folders):
            if _any(here / name, (*_FOLDERS, *_NEVER)):
                folders.remove(name)
                yield here / name
        for path in (here / name for name in files):
            is_copy = _is_copy(path, is_beside=here in homes, has_removed=has_removed)
            if not is_copy and here not in homes and path.suffix == ".safetensors":
                names = _names_in(models, bytes_of) if names is None else names
                is_copy = bool(names & _names_in([path], bytes_of))
            if is_copy:
                yield path


def _is_copy(path: Path, *, is_beside: bool, has_removed: bool) -> bool:
    if _any(path, (*_ANYWHERE, *_NEVER)):
        return True
    if has_removed and path.name in _ADAPTERS:
        return True
    return is_beside and _any(path, _BESIDE) and not _any(path, _OTHER)


def _any(path: Path, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(path.name, pattern) for pattern in patterns)


def _files_of(weights: Path) -> frozenset[Path]:
    """Return the files that are pruned: one, or an index and its shards; of each component of a pipeline."""
    models = [each.weights for each in components_of(weights)]
    shards = [path.parent / name for path in models if is_index(path) for name in _weight_map(path).values()]
    return frozenset((*models, *shards))


def _names_in(paths: Iterable[Path], files: Files) -> frozenset[str]:
    """Return the names of the tensors of files and indices; none of those that cannot be read."""
    names: set[str] = set()
    for path in paths:
        if is_index(path):
            names.update(_weight_map(path))
            continue
        with suppress(PruningError, OSError):
            names.update(entry.name for entry in FileSource(path, files).layout.tensors)
    return frozenset(names)


def _weight_map(index: Path) -> dict[str, str]:
    """Return the file of each tensor; nothing if the index is invalid, which is refused where it is pruned."""
    with suppress(ValueError, KeyError, TypeError):
        found = json.loads(index.read_bytes())["weight_map"]
        return {str(name): str(file) for name, file in found.items()} if isinstance(found, dict) else {}
    return {}
