"""Patterns that repeat over the layers: whether each layer that is left is still of the same kind."""

from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from pruning_client.huggingface.layers.fields import PERIODS
from pruning_client.huggingface.layers.removal import Removal

_SPARSE_STEP: Final = "decoder_sparse_step"
_DENSE: Final = "mlp_only_layers"
"""Layers that are dense in spite of the step: with it, every pattern can be written."""


def check_patterns(part: Mapping[str, Any], edited: MutableMapping[str, Any], removal: Removal) -> None:
    """Refuse a pattern that the layers that are left no longer follow. Raises: MismatchError.

    Where a config has the kind of each layer in a list, its pattern is not looked at. A step of sparse layers that
    breaks is written as a list of dense ones.
    """
    for name, period in PERIODS.items():
        length = _length(part.get(name))
        if length < 2 or any(_has_each(part, other, removal) for other in period.lists):
            continue
        offset = part.get(period.offset, 0) if isinstance(period.offset, str) else period.offset
        if _holds(length, offset, removal):
            continue
        if name == _SPARSE_STEP and _DENSE in part:
            edited[name] = 1
            edited[_DENSE] = [
                at for at, layer in enumerate(removal.kept) if (layer + 1) % length or layer in part[_DENSE]
            ]
            continue
        removal.refuse(
            name,
            f"the kinds of layers repeat after {length}, which the layers that are left do not; remove {length} "
            "consecutive layers at a time",
        )


def _length(value: object) -> int:
    """Return after how many layers a pattern repeats; 0 if there is none."""
    if isinstance(value, list | str):
        return len(value)
    return value if isinstance(value, int) else 0


def _has_each(part: Mapping[str, Any], name: str, removal: Removal) -> bool:
    value = part.get(name)
    return isinstance(value, list) and (len(value) >= removal.layers or name == "moe_layers")


def _holds(length: int, offset: object, removal: Removal) -> bool:
    if not isinstance(offset, int):
        return all((layer - at) % length == 0 for at, layer in enumerate(removal.kept))
    return all(
        ((layer - offset) % length == 0) == ((at - offset) % length == 0) for at, layer in enumerate(removal.kept)
    )
