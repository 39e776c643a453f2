"""What names and shapes show of a result whose channels were removed, without the code of the model.

A tensor is doubtful if it is in a group's block and kept the old number of channels, or if it was like that of another
layer and is not now.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pruning_client.huggingface.config_fields import CONFIG, PER_LAYER, Place
from pruning_client.huggingface.transformers_check import Shapes
from pruning_client.results.report import GroupReport


def doubts(old: Shapes, new: Shapes, groups: Sequence[GroupReport], configs: tuple[Any, Any]) -> list[str]:
    """Return a sentence for each tensor that hardly fits a model that lost these groups' channels.

    `old` and `new` are the shapes of the tensors before and after, by their names in the result; `configs` as well.
    """
    kept = {name: shape for name, shape in old.items() if name in new}
    return [*_left_behind(kept, new, groups), *_unlike(kept, new, *configs)]


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
    if any(PER_LAYER in place or isinstance(place[-1], int) for place in changed_values(before, after)):
        return
    first: dict[tuple[str, tuple[int, ...]], str] = {}
    for name, shape in old.items():
        other = first.setdefault((re.sub(r"(?<=\.)\d+(?=\.)", "*", name), tuple(shape)), name)
        if new[other] != new[name]:
            yield (
                f"tensor {name!r} has shape {list(new[name])} and {other!r} {list(new[other])}, which were alike, and "
                f"{CONFIG} has one size for both"
            )


def changed_values(before: Any, after: Any, place: Place = ()) -> dict[Place, object]:
    """Return the values of a config that differ, by their places."""
    if isinstance(after, dict | list):
        keys: Iterable[Any] = after if isinstance(after, dict) else range(len(after))
        old = before if isinstance(before, dict) else dict(enumerate(before or ()))
        found: dict[Place, object] = {}
        for key in keys:
            found |= changed_values(old.get(key), after[key], (*place, key))
        return found
    return {place: after} if before != after else {}
