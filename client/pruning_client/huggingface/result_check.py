"""Whether a folder whose channels were removed is a model again: the shape of every tensor agrees with config.json.

transformers answers where it is installed and knows the model. Otherwise names and shapes do: no tensor of a group's
block may have kept the old number of channels, and tensors of all layers that were alike must be alike.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pruning_client.calls.renumbered import Renumbering
from pruning_client.checkpoints.opened import open_source
from pruning_client.errors import MismatchError
from pruning_client.huggingface.config_fields import CONFIG, PER_LAYER, Place, name_of
from pruning_client.huggingface.experts.widths import GROUPED_MM, is_of_grouped_mm
from pruning_client.huggingface.layers.removal import removals_of
from pruning_client.huggingface.transformers_check import Shapes, TransformersCheck
from pruning_client.results.group_report import UNIT
from pruning_client.results.model_warning import ModelWarning
from pruning_client.results.report import GroupReport
from pruning_proto.reasons import Reason

_MOST_LISTED: Final = 3
_ELSEWHERE: Final = (
    "nothing was written; couple these tensors, too, in groups of your own, or prune the safetensors file and load it "
    "with `pruning_client.torch.load_pruned`"
)


def check_result(
    before: tuple[Mapping[str, Any], Path],
    after: tuple[Mapping[str, Any], Path],
    groups: Sequence[GroupReport],
    transformers: TransformersCheck,
) -> tuple[ModelWarning, ...]:
    """Refuse a result whose tensors are not those of the model that its config describes; return what is not certain.

    `before` and `after` are a config and a file of weights, or the index of several; `transformers` was started for the
    first config. Raises: MismatchError, OSError.
    """
    renumbering = Renumbering(groups)
    shapes, new = shapes_of(before[1]), shapes_of(after[1])
    old = {name: shape for tensor, shape in shapes.items() if (name := renumbering.name_of(tensor)) is not None}
    groups = [_as_in_result(group, renumbering) for group in groups]
    found = transformers.misfits((before[0], shapes), (after[0], new), removals_of(groups))
    is_certain = found is not None
    if found is None:
        both = {name: shape for name, shape in old.items() if name in new}
        found = [*_left_behind(both, new, groups), *_unlike(both, new, before[0], after[0])]
    if found:
        advice = GROUPED_MM if any(map(is_of_grouped_mm, found)) else _ELSEWHERE
        more = f", and {len(found) - _MOST_LISTED} more" if len(found) > _MOST_LISTED else ""
        raise MismatchError(
            f"the result does not agree with its {CONFIG} ({_changes(before[0], after[0])}): "
            f"{'; '.join(found[:_MOST_LISTED])}{more}; {advice}",
            reason=Reason.SHAPE_MISMATCH,
        )
    return () if is_certain else tuple(_added_head_dims(before[0], after[0]))


def _added_head_dims(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[ModelWarning]:
    """Return a warning for each size of heads that the config did not have: not all models read it."""
    for place, value in _changed(before, after).items():
        if place[-1] == "head_dim":
            yield ModelWarning(
                kind="head_dim_added",
                tensor=None,
                message=f"{name_of(place)} {value} was added to {CONFIG}, because it no longer follows from the number "
                "of heads; some models do not read it, and transformers, which would have been asked, is not installed "
                "here or does not know the model: load the result once",
            )


def shapes_of(weights: Path) -> Shapes:
    """Return the shape of each tensor of a file, or of the shards of an index. Raises: OSError, CheckpointError."""
    return {entry.name: entry.shape for entry in open_source(weights).layout.tensors}


def _as_in_result(group: GroupReport, renumbering: Renumbering) -> GroupReport:
    """Return a group whose tensors have their names in the result: those of which each unit has a part."""
    names = (renumbering.name_of(tensor) for tensor in group.tensors if UNIT not in tensor)
    return replace(group, tensors=tuple(name for name in names if name is not None))


def _left_behind(old: Shapes, new: Shapes, groups: Sequence[GroupReport]) -> Iterator[str]:
    """Return the tensors of each group's block that are as large as what the group has lost, but not in the group."""
    coupled = {name for group in groups for name in group.tensors}
    for group in groups:
        prefix = _common_prefix(group.tensors)
        lost = _lost_sizes(old, new, group)
        if not prefix or not lost:
            continue
        for name, shape in old.items():
            is_cut = name in coupled or new[name] != shape  # a scale follows its weight
            if name.startswith(prefix) and not is_cut and not _is_output_bias(name, old, new):
                yield from (
                    f"tensor {name!r} of shape {list(shape)} still has {size}, as the channels of group {group.name!r} "
                    "had"
                    for size in sorted(lost & set(shape))
                )


def _lost_sizes(old: Shapes, new: Shapes, group: GroupReport) -> set[int]:
    """Return the numbers of channels that a group had; not those that its tensors have along other dims, too."""
    if len(group.kept) == group.units:
        return set()
    sizes = [pair for name in group.tensors if name in old for pair in zip(old[name], new[name], strict=True)]
    lost = {before for before, after in sizes if before != after}
    heads = {size // group.units for size in lost}
    return (lost | {group.units}) - {before for before, after in sizes if before == after} - heads


def _is_output_bias(name: str, old: Shapes, new: Shapes) -> bool:
    """Whether a tensor is the bias of a weight that has lost inputs: its own size is that of the outputs."""
    weight = f"{name.removesuffix('.bias')}.weight"
    if not name.endswith(".bias") or weight not in old:
        return False
    return old[weight] != new[weight] and old[weight][0] == new[weight][0]


def _common_prefix(names: Iterable[str]) -> str:
    """Return the segments with which all names begin, and a dot; nothing if there are none."""
    split = [name.split(".")[:-1] for name in names]
    common = []
    for segments in zip(*split, strict=False):
        if len(set(segments)) > 1:
            break
        common.append(segments[0])
    return ".".join([*common, ""]) if common else ""


def _unlike(old: Shapes, new: Shapes, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Return tensors that were like those of other layers and are not now, unless the config describes each layer."""
    if any(PER_LAYER in place or isinstance(place[-1], int) for place in _changed(before, after)):
        return
    first: dict[tuple[str, tuple[int, ...]], str] = {}
    for name, shape in old.items():
        other = first.setdefault((re.sub(r"(?<=\.)\d+(?=\.)", "*", name), tuple(shape)), name)
        if new[other] != new[name]:
            yield (
                f"tensor {name!r} has shape {list(new[name])} and {other!r} {list(new[other])}, which were alike, and "
                f"{CONFIG} has one size for both"
            )


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    return ", ".join(f"{name_of(place)} is {value} now" for place, value in _changed(before, after).items())


def _changed(before: Any, after: Any, place: Place = ()) -> dict[Place, object]:
    """Return the values of a config that differ, by their places."""
    if isinstance(after, dict | list):
        keys: Iterable[Any] = after if isinstance(after, dict) else range(len(after))
        old = before if isinstance(before, dict) else dict(enumerate(before or ()))
        found: dict[Place, object] = {}
        for key in keys:
            found |= _changed(old.get(key), after[key], (*place, key))
        return found
    return {place: after} if before != after else {}
