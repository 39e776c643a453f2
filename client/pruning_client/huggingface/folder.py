"""A Hugging Face model folder pruned into a new one: weights, the `config.json` that fits them, and all other files.

The new folder is written beside its target and renamed when it is whole; an existing target is never overwritten.
`checkpoints.shards` reads weights in several files, `config_json` computes the new `config.json`.
"""

import json
import os
import secrets
import shutil
from errno import EEXIST, ENOENT
from os import PathLike
from pathlib import Path
from typing import Final, Protocol

from pruning_client.calls.exchange import Watcher
from pruning_client.calls.request import Rules, recipe_of
from pruning_client.checkpoints.atomic_file import replacing
from pruning_client.checkpoints.shards import INDEX, is_index, read_index
from pruning_client.checkpoints.split import shards_by_size, split_file, with_usual_names
from pruning_client.errors import recipe_error
from pruning_client.huggingface.config_json import (
    CONFIG,
    check_groups_counted,
    check_head_dims,
    read_config,
    updated_config,
)
from pruning_client.huggingface.copied_files import described, is_never_copied, left_out
from pruning_client.huggingface.copied_folder import check_links, copy_folder
from pruning_client.huggingface.quantization import check_not_quantized
from pruning_client.results.output_format import Output
from pruning_client.results.report import Report
from pruning_proto.formats import FORMATS
from pruning_proto.reasons import Reason

WEIGHTS: Final = "model.safetensors"

FOLDER_OUTPUTS: Final = tuple(row.name for row in FORMATS if row.is_loadable)
"""Output formats that a model can be loaded from."""


class FilePruner(Protocol):
    """Prunes one file into another: a `Client`, or the command line's local pipeline."""

    def prune_file(  # noqa: PLR0913 - one keyword for each option of a call
        self,
        source: str | PathLike[str],
        target: str | PathLike[str],
        rules: Rules,
        *,
        output: Output = "pruned",
        seed: int | None = None,
        digests: bool = False,
        canonical_zero: bool = False,
        progress: Watcher | None = None,
        timeout: float | None = None,
    ) -> Report:
        """Prune a safetensors file into another; `target` is written whole or not at all."""


def is_folder(path: str | PathLike[str]) -> bool:
    """Whether this is a folder, and so perhaps a model's."""
    return Path(path).is_dir()


def weights_of(folder: str | PathLike[str]) -> Path:
    """Return the file of a model's weights, or the index of several. Raises: OSError if the folder is not a model's."""
    path = Path(folder)
    if not (path / CONFIG).is_file():
        description = f"is no model's folder: it has no {CONFIG}; give the safetensors file"
        raise FileNotFoundError(ENOENT, description, str(path))
    for name in (WEIGHTS, INDEX):
        if (path / name).is_file():
            return path / name
    description = f"has no {WEIGHTS} and no {INDEX}; other weights are not read: save the model with safetensors first"
    raise FileNotFoundError(ENOENT, description, str(path))


def check_new(target: str | PathLike[str]) -> None:
    """Raise OSError if the target exists already, or its parent folder does not."""
    if os.path.lexists(target):
        description = "is there already, and a folder is not overwritten; name a new one"
        raise FileExistsError(EEXIST, description, str(target))
    if not Path(target).parent.is_dir():
        raise FileNotFoundError(ENOENT, "is not a folder", str(Path(target).parent))


def prune_folder(  # noqa: PLR0913 - one keyword for each option, as of `Client.prune_file`
    client: FilePruner,
    source: str | PathLike[str],
    target: str | PathLike[str],
    rules: Rules,
    *,
    output: Output = "removed",
    seed: int | None = None,
    digests: bool = False,
    max_shard_bytes: int | None = None,
    progress: Watcher | None = None,
    timeout: float | None = None,
) -> Report:
    """Prune a Hugging Face model's folder into a new one that `from_pretrained` loads.

    Shards stay shards, with the same tensors in each; with `max_shard_bytes` they are made anew, of at most this size.
    Either takes the size of the result on disk twice for a while. With output "removed" the fields of `config.json`
    that count units are set from the report; other files are copied, except for those that hold the weights unpruned
    (`not_copied`). The target is written whole or not at all, and must not exist.
    Raises: PruningError, OSError as `Client.prune_file`. MismatchError if `config.json` cannot express what is left.
    CheckpointError for a link that leaves the folder, see `copied_folder`.
    """
    _check_output(output)
    weights, recipe = weights_of(source), recipe_of(rules, seed)
    check_links(Path(source))
    if output == "removed":
        check_groups_counted(recipe)
    config = read_config(Path(source) / CONFIG)
    check_head_dims(config, recipe)
    check_not_quantized(config, recipe)
    check_new(target)
    partial = Path(target).with_name(f".prune-{secrets.token_hex(8)}.part")
    try:
        out = left_out(Path(source), weights, has_removed=output == "removed")
        copy_folder(Path(source), partial, lambda path: path in out or is_never_copied(path.name))
        report = client.prune_file(
            weights,
            partial / WEIGHTS,
            recipe,
            output=output,
            digests=digests,
            progress=progress,
            timeout=timeout,
        )
        _split(partial, weights, max_shard_bytes)
        if output == "removed":
            text = json.dumps(updated_config(config, report, recipe), indent=2, ensure_ascii=False)
            with replacing(partial / CONFIG) as file:
                file.write(f"{text}\n".encode())
        check_new(target)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return report


def _check_output(output: str) -> None:
    if output not in FOLDER_OUTPUTS:
        allowed = " or ".join(repr(name) for name in FOLDER_OUTPUTS)
        description = f"of a folder it is {allowed}, which a model can be loaded from; got {output!r}"
        raise recipe_error(Reason.INVALID_RECIPE, "output", description)


def _split(folder: Path, weights: Path, max_shard_bytes: int | None) -> None:
    """Split the new weights as the source was, or by size."""
    file_of, metadata = read_index(weights) if is_index(weights) else ({}, {})
    if max_shard_bytes is not None:
        file_of = shards_by_size(folder / WEIGHTS, max_shard_bytes)
        file_of = file_of if len(set(file_of.values())) > 1 else {}
    else:
        file_of = with_usual_names(file_of)
    if file_of:
        split_file(folder / WEIGHTS, folder / INDEX, file_of, metadata)


def not_copied(source: str | PathLike[str], output: Output) -> list[str]:
    """Return what `prune_folder` leaves out besides the weights, because it holds them unpruned; as paths in it."""
    weights = weights_of(source)
    check_links(Path(source))
    return described(Path(source), weights, has_removed=output == "removed")
