"""A Hugging Face model folder pruned into another: weights, the config.json that fits them, and all else as it was.

Where units are removed the report says what `config.json` has to say now. The result is written beside its place and
renamed when it is whole; what is there already is never written over. `shards` reads weights in several files.
"""

import json
import os
import secrets
import shutil
import stat
from collections.abc import Mapping
from errno import EEXIST, ENOENT
from fnmatch import fnmatch
from os import PathLike
from pathlib import Path
from typing import Any, Final

from pruning_client.calls.exchange import Rules, Watcher, recipe_of
from pruning_client.checkpoints.atomic_file import replacing
from pruning_client.checkpoints.shards import INDEX
from pruning_client.clients.sync import Client
from pruning_client.errors import MismatchError, recipe_error
from pruning_client.results.output_form import Output
from pruning_client.results.report import GroupReport, Report
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb

CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"

FOLDER_OUTPUTS: Final = ("pruned", "removed")
"""Forms of a result that a model can be loaded from."""

_LEFT_OUT: Final = (
    *(WEIGHTS, "model-*.safetensors", INDEX),
    *("pytorch_model*.bin", "pytorch_model*.index.json", "tf_model*.h5", "flax_model*.msgpack", "rust_model.ot"),
    *("*.onnx", "*.gguf", "openvino_model*"),
)
"""The weights, and what holds the same weights in another form and would not be pruned."""

_DERIVED: Final = ("num_key_value_heads", "head_dim")
"""Fields that a config may lack, for they follow from others as long as nothing is removed."""

_NEVER: Final = (".git", ".prune-*.part")
"""What no copy has: a repository, and results under way."""


def is_folder(path: str | PathLike[str]) -> bool:
    """Whether this is a folder, and so perhaps a model's."""
    return Path(path).is_dir()


def weights_of(folder: str | PathLike[str]) -> Path:
    """Give the file of a model's weights, or the index of several. Raises: OSError if this is no model's folder."""
    path = Path(folder)
    if not (path / CONFIG).is_file():
        wrong = f"is no model's folder: it has no {CONFIG}; give the safetensors file"
        raise FileNotFoundError(ENOENT, wrong, str(path))
    for name in (WEIGHTS, INDEX):
        if (path / name).is_file():
            return path / name
    wrong = f"has no {WEIGHTS} and no {INDEX}; other weights are not read: save the model with safetensors first"
    raise FileNotFoundError(ENOENT, wrong, str(path))


def check_new(target: str | PathLike[str]) -> None:
    """Raise OSError if something is there already, or no folder to put it in."""
    if os.path.lexists(target):
        raise FileExistsError(EEXIST, "is there already, and a folder is not written over; name a new one", str(target))
    if not Path(target).parent.is_dir():
        raise FileNotFoundError(ENOENT, "is no folder", str(Path(target).parent))


def prune_folder(  # noqa: PLR0913 - what a caller may ask, as of `Client.prune_file`
    client: Client,
    source: str | PathLike[str],
    target: str | PathLike[str],
    rules: Rules,
    *,
    output: Output = "removed",
    seed: int | None = None,
    digests: bool = False,
    progress: Watcher | None = None,
    timeout: float | None = None,
) -> Report:
    """Prune a Hugging Face model's folder into a new one that `from_pretrained` loads.

    The weights become one `model.safetensors`. With output "removed" the fields of `config.json` that count units are
    set from the report; other files are copied, but for weights in other forms. The target is written whole or not at
    all, and must not be there.
    Raises: PruningError, OSError as `Client.prune_file`. MismatchError if `config.json` cannot say what is left.
    """
    if output not in FOLDER_OUTPUTS:
        allowed = " or ".join(repr(name) for name in FOLDER_OUTPUTS)
        wrong = f"of a folder it is {allowed}, which a model can be loaded from; got {output!r}"
        raise recipe_error(Reason.INVALID_RECIPE, "output", wrong)
    weights, place, recipe = weights_of(source), Path(target), recipe_of(rules, seed)
    if output == "removed":
        _check_configured(recipe)
    config = _read_config(Path(source) / CONFIG)
    _check_head_dims(config, recipe)
    check_new(place)
    partial = place.with_name(f".prune-{secrets.token_hex(8)}.part")
    try:
        _copy_rest(Path(source), partial)
        report = client.prune_file(
            weights,
            partial / WEIGHTS,
            recipe,
            output=output,
            digests=digests,
            progress=progress,
            timeout=timeout,
        )
        if output == "removed":
            changed = json.dumps(_changed(config, report, recipe), indent=2, ensure_ascii=False)
            with replacing(partial / CONFIG) as file:
                file.write(f"{changed}\n".encode())
        check_new(place)
        partial.rename(place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return report


def _copy_rest(source: Path, partial: Path) -> None:
    """Copy what is no weights; links, as a download's cache has them, become files."""

    def left_out(folder: str, names: list[str]) -> list[str]:
        patterns = (*_LEFT_OUT, *_NEVER) if Path(folder) == source else _NEVER
        return [name for name in names if any(fnmatch(name, pattern) for pattern in patterns)]

    try:
        shutil.copytree(source, partial, ignore=left_out)
    except shutil.Error as error:  # one text for each file that failed
        failed, _, why = error.args[0][0]
        raise OSError(None, str(why), failed) from error
    partial.chmod(partial.stat().st_mode | stat.S_IRWXU)  # the copy of a read-only folder


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_bytes())
    except ValueError as error:
        raise MismatchError(f"{path}: is no JSON: {error}") from error
    if not isinstance(config, dict):
        raise MismatchError(f"{path}: is no JSON object")
    return config


def _check_head_dims(config: dict[str, Any], recipe: pb.Recipe) -> None:
    """Refuse heads of another size than the model's: such groups may fit its shapes, and would tear its heads apart."""
    known = {size for part in _places_of(config, "num_attention_heads") if (size := _size_of_heads(part))}
    for position, rule in enumerate(recipe.rules):
        asked = rule.granularity.units.head_dim
        if asked and known and asked not in known:
            wrong = f"by its {CONFIG} the model's is {' or '.join(map(str, sorted(known)))}, got {asked}"
            field = f"recipe.rules[{position}].granularity.units.head_dim"
            raise recipe_error(Reason.INVALID_RECIPE, field, wrong)


def _size_of_heads(config: Mapping[str, Any]) -> int | None:
    """Give the entries of one attention head, as transformers has it; None if the config does not say."""
    said, width, heads = (config.get(name) for name in ("head_dim", "hidden_size", "num_attention_heads"))
    if isinstance(said, int):
        return said
    return width // heads if isinstance(width, int) and isinstance(heads, int) and heads > 0 else None


def _check_configured(recipe: pb.Recipe) -> None:
    """Refuse early a group whose width no field of config.json would say."""
    for position, rule in enumerate(recipe.rules):
        for index, group in enumerate(rule.granularity.units.groups):
            if not group.config:
                field = f"recipe.rules[{position}].granularity.units.groups[{index}].config"
                raise recipe_error(Reason.INVALID_RECIPE, field, f"is missing; {_SAY_IT}")


_SAY_IT: Final = (
    "a folder's config.json has to say how many units are left: name its field and what one unit counts for, such as "
    '{"intermediate_size": 1}; or prune the safetensors file and load it with `pruning_client.torch.load_pruned`'
)


def _changed(config: dict[str, Any], report: Report, recipe: pb.Recipe) -> dict[str, Any]:
    """Give the config that fits the weights. Raises: MismatchError if it cannot be said."""
    changed: dict[str, Any] = json.loads(json.dumps(config))
    for name, value in _fields(report.groups, recipe).items():
        place = _place_of(changed, name)
        place[name] = value
        _check_heads(place)
    return changed


def _check_heads(config: Mapping[str, Any]) -> None:
    """Refuse a number of heads that transformers refuses, also where `head_dim` is given."""
    width, heads = config.get("hidden_size"), config.get("num_attention_heads")
    if isinstance(width, int) and isinstance(heads, int) and heads > 0 and width % heads:
        raise MismatchError(
            f"transformers loads no model whose hidden_size, {width}, is no multiple of num_attention_heads, which is "
            f"{heads} now; remove another number of groups"
        )


def _fields(groups: tuple[GroupReport, ...], recipe: pb.Recipe) -> dict[str, int]:
    """Give the fields that count units, each with the one value that all groups have."""
    fields: dict[str, int] = {}
    said: dict[str, str] = {}
    last = {(group.name, group.tensors): group for group in groups}  # a later rule acts on what the earlier ones left
    for group in last.values():
        if not group.config and len(group.kept) < group.units:
            raise MismatchError(f"group {group.name!r} lost units, and no field of config.json counts them; {_SAY_IT}")
        for name, value in (*group.config.items(), *_head_dim(group, recipe)):
            if fields.setdefault(name, value) != value:
                raise MismatchError(
                    f"config.json has one {name} for all layers, but {said[name]!r} has {fields[name]} now and "
                    f"{group.name!r} has {value}; ask for the same width (--same-width)"
                )
            said.setdefault(name, group.name)
    return fields


def _head_dim(group: GroupReport, recipe: pb.Recipe) -> list[tuple[str, int]]:
    """Give the size of a head where their number changes: it no longer follows from the hidden size."""
    head_dim = recipe.rules[group.rule].granularity.units.head_dim
    return [("head_dim", head_dim)] if head_dim and "num_attention_heads" in group.config else []


def _place_of(config: dict[str, Any], name: str) -> dict[str, Any]:
    """Give the part of a config that has a field. Raises: MismatchError if none has, or several have."""
    places = _places_of(config, name)
    if not places and name in _DERIVED:
        return config
    if not places:
        raise MismatchError(
            f"{CONFIG} has no field {name}, which is to count the units that are left; correct the name in the group's "
            f"config, or write the field into {CONFIG} first"
        )
    if len(places) > 1:
        raise MismatchError(
            f"{CONFIG} has {name} in several parts, and nothing says in which it changed; prune the safetensors file "
            "and load it with `pruning_client.torch.load_pruned`"
        )
    return places[0]


def _places_of(config: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Give the parts of a config that have a field: the whole, or those nested in it, of a model of several."""
    if name in config:
        return [config]
    return [part for part in config.values() if isinstance(part, dict) and name in part]
