"""Where a model's layers are in its checkpoint: stacks of numbered blocks, found by the names and shapes of tensors.

Engine and client find them with the same code: the map `layers`, statistics of layers, and config.json agree on their
names.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

_Tensors: TypeAlias = Mapping[str, Sequence[int]]
"""The shape of each tensor of one block, by its name below the block's number."""

_NORM: Final = re.compile(r"norm|(?:^|_)ln(?:_|\d|$)")
"""In a segment of a name: this is a normalization."""

_PREDICTS_FURTHER: Final = frozenset({"eh_proj", "enorm", "hnorm", "shared_head"})
"""Modules that only blocks for multi-token prediction have, which follow the layers under the next numbers."""

_INSIDE: Final = re.compile(r"expert|^mtp$")
"""In any segment of a prefix: these are experts, or blocks for multi-token prediction."""

_BESIDE: Final = re.compile(r"(?:^|_)(?:mlps?|embed|mergers?|projectors?|heads?)(?:_|$)")
"""In the last segment of a prefix: its numbered modules work beside each other, not one after the other."""

_LEAST_MATRICES: Final = 2
"""Weights of two dims that each layer has at least: what reads the hidden state, and what adds to it."""


@dataclass(frozen=True, slots=True)
class LayerStack:
    """A stack of layers: what the names of its tensors begin with, before the number; and the number of layers."""

    prefix: str
    layers: int


def layer_stacks(shapes: Mapping[str, Sequence[int]]) -> list[LayerStack]:
    """Return the stacks of at least two layers, in the order of the tensors.

    Only the first number in a name counts, so that experts and other numbered modules inside a layer are none. The
    blocks below a prefix are layers if
    - their numbers are 0, 1, 2, ... without a gap,
    - each is made of modules, and has at least two matrices: a Sequential of Linear or of convolutions has not,
    - all normalize vectors of one size, which is then the size of what passes through them; the stages of a
      hierarchical model do not. Blocks without any norms read and write a vector of one size.
    Blocks for multi-token prediction at the end do not count, and neither do lists of experts, heads, projectors and
    embeddings.
    """
    found = []
    for prefix, blocks in _numbered(shapes).items():
        layers = _without_further_prediction(blocks)
        is_stack = len(layers) > 1 and all(map(_is_layer, layers)) and _has_one_width(layers)
        if is_stack and not _is_of_others(prefix):
            found.append(LayerStack(prefix, len(layers)))
    return found


def split_number(name: str) -> tuple[str, int, str] | None:
    """Return what is before the first number in a name, the number, and what is after it; None if it has none.

    Example: ("model.layers", 3, "mlp.experts.7.w1.weight")
    """
    segments = name.split(".")
    for at, segment in enumerate(segments):
        if at and segment.isdecimal() and str(int(segment)) == segment:
            return ".".join(segments[:at]), int(segment), ".".join(segments[at + 1 :])
    return None


def _numbered(shapes: Mapping[str, Sequence[int]]) -> dict[str, list[_Tensors]]:
    """Return the tensors of numbered blocks by their prefix, in the order of numbers, which have no gap."""
    found: dict[str, dict[int, dict[str, Sequence[int]]]] = defaultdict(lambda: defaultdict(dict))
    for name, shape in shapes.items():
        parts = split_number(name)
        if parts is not None:
            prefix, number, rest = parts
            found[prefix][number][rest] = shape
    return {
        prefix: [blocks[number] for number in range(len(blocks))]
        for prefix, blocks in found.items()
        if set(blocks) == set(range(len(blocks)))
    }


def _without_further_prediction(blocks: Sequence[_Tensors]) -> Sequence[_Tensors]:
    count = len(blocks)
    while count and any(_PREDICTS_FURTHER & set(name.split(".")) for name in blocks[count - 1]):
        count -= 1
    return blocks[:count]


def _is_layer(tensors: _Tensors) -> bool:
    is_made_of_modules = any("." in name for name in tensors)
    return is_made_of_modules and len(_matrices(tensors)) >= _LEAST_MATRICES


def _has_one_width(layers: Sequence[_Tensors]) -> bool:
    norms = [_norm_sizes(layer) for layer in layers]
    if any(norms):
        return bool(set.intersection(*norms))
    return bool(set.intersection(*(_read_and_written(_matrices(layer)) for layer in layers)))


def _norm_sizes(tensors: _Tensors) -> set[int]:
    return {shape[0] for name, shape in tensors.items() if len(shape) == 1 and _is_norm(name)}


def _is_norm(name: str) -> bool:
    return any(_NORM.search(segment) for segment in name.lower().split("."))


def _matrices(tensors: _Tensors) -> list[Sequence[int]]:
    return [shape for shape in tensors.values() if len(shape) == 2]


def _read_and_written(matrices: Iterable[Sequence[int]]) -> set[int]:
    shapes = list(matrices)
    return {shape[0] for shape in shapes} & {shape[1] for shape in shapes}


def _is_of_others(prefix: str) -> bool:
    segments = prefix.lower().split(".")
    return any(map(_INSIDE.search, segments)) or _BESIDE.search(segments[-1]) is not None
