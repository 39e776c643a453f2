"""The inner width of a feed-forward layer where config.json has no width, but a number for each layer that it follows
from: OpenELM's `ffn_multipliers`, and `block_configs` of DeciLM (Nemotron-NAS), which vLLM loads.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

Place: TypeAlias = tuple[str | int, ...]

_MULTIPLIERS: Final = "ffn_multipliers"
_BLOCKS: Final = "block_configs"
_DECI_STEP: Final = 256
"""vLLM's and the models' own code round DeciLM's widths up to multiples of this."""


@dataclass(frozen=True, slots=True)
class LayerWidth:
    """A number of config.json that a width follows from.

    Attributes:
        place: of the number.
        width_of: the width that loaders make of a number.
        number_of: a number for a width; it is right if `width_of` gives that width.
        step: widths are multiples of it.
    """

    place: Place
    width_of: Callable[[float], int]
    number_of: Callable[[int], float]
    step: int


def layer_width(part: Mapping[str, Any], layer: int | None) -> LayerWidth | None:
    """Return the number that the width of a layer follows from; None if there is none. `part`: of the submodel."""
    if layer is None:
        return None
    return _of_open_elm(part, layer) or _of_deci(part, layer)


def has_layer_widths(part: Mapping[str, Any], names: tuple[str, ...]) -> bool:
    """Whether a config has a width for each layer: a list under one of these names, or numbers that it follows from."""
    return any(isinstance(part.get(name), list) for name in (*names, _MULTIPLIERS, _BLOCKS))


def _of_open_elm(part: Mapping[str, Any], layer: int) -> LayerWidth | None:
    multipliers, model_dim = part.get(_MULTIPLIERS), part.get("model_dim")
    step: int = part.get("ffn_dim_divisor", 256)
    if not isinstance(multipliers, list) or not isinstance(model_dim, int) or layer >= len(multipliers):
        return None

    def width_of(multiplier: float) -> int:
        exact = multiplier * model_dim
        rounded = max(step, int(exact + step / 2) // step * step)
        return rounded + step if rounded < 0.9 * exact else rounded

    return LayerWidth((_MULTIPLIERS, layer), width_of, lambda width: width / model_dim, step)


def _of_deci(part: Mapping[str, Any], layer: int) -> LayerWidth | None:
    blocks, hidden = part.get(_BLOCKS), part.get("hidden_size")
    if not isinstance(blocks, list) or not isinstance(hidden, int) or layer >= len(blocks):
        return None
    block = blocks[layer].get("ffn") if isinstance(blocks[layer], dict) else None
    if not isinstance(block, dict):
        return None
    place: Place = (_BLOCKS, layer, "ffn")
    if isinstance(block.get("intermediate_size"), int):
        return LayerWidth((*place, "intermediate_size"), int, int, 1)
    return LayerWidth(
        (*place, "ffn_mult"),
        lambda multiplier: -(-int(2 * multiplier * hidden / 3) // _DECI_STEP) * _DECI_STEP,
        lambda width: 3 * width / (2 * hidden),
        _DECI_STEP,
    )
