"""What kind of layer a tensor belongs to, and where in the model it is, by its name: for sums and heat maps only.

Rules select tensors by names and shapes, and never by these.
"""

import re
from dataclasses import dataclass
from typing import Final

from pruning_proto.layer_stacks import split_number

_KINDS: Final = (
    ("norm", re.compile(r"norm|(^|[._])(ln|bn)(_?\w)?\d*(\.|$)|batch_?norm")),
    ("embedding", re.compile(r"embed|(^|\.)(wte|wpe)(\.|$)|token_type")),
    ("output head", re.compile(r"lm_head|output_head|(^|\.)(classifier|score|cls)(\.|$)")),
    ("router", re.compile(r"router|(^|\.)(mlp|block_sparse_moe|moe|ffn)\.gate(\.|$)|shared_expert_gate")),
    ("experts", re.compile(r"expert")),
    ("attention", re.compile(r"attn|attention|(^|[._])(q|k|v|o|qkv)(_?proj|_?lin)?(\.|$)")),
    (
        "feed-forward",
        re.compile(r"mlp|ffn|feed_?forward|intermediate|dense|linear|(^|\.)fc\d*(\.|$)|(gate|up|down)_proj"),
    ),
    ("convolution", re.compile(r"conv")),
)
"""Tried in this order: the output projection of an attention may be called `attention.output.dense`."""

OTHER: Final = "other"
BIAS: Final = "bias"

KINDS: Final = (*(kind for kind, _ in _KINDS), BIAS, OTHER)
"""All kinds, in the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor is: the row of a heat map, and the number of its layer, None outside of numbered layers."""

    row: str
    depth: int | None


def kind_of(name: str, shape: tuple[int, ...]) -> str:
    """Return the kind of layer that a tensor belongs to."""
    lower = name.lower()
    if lower.endswith("bias") and len(shape) < 2:
        return BIAS
    for kind, pattern in _KINDS:
        if pattern.search(lower):
            return kind
    return "convolution" if len(shape) in (3, 4, 5) else OTHER


def place_of(name: str) -> Place:
    """Return the place of a tensor; other numbers in its name, such as those of experts, do not count."""
    parts = split_number(name)
    if parts is None:
        return Place(name, None)
    prefix, number, rest = parts
    row = ".".join("*" if segment.isdecimal() else segment for segment in rest.split("."))
    return Place(f"{prefix}.N.{row}" if row else f"{prefix}.N", number)
