"""Maps of feed-forward blocks: the inner width of MLPs with and without a gate, dense or of experts.

The three kinds of a mixture of experts have different fields of config.json, so that each keeps a width of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pruning_engine.granularities.channel_groups import ChannelGroup, ChannelSlice
from pruning_engine.granularities.maps.blocks import Blocks, Shapes, refuse_uncoupled
from pruning_engine.granularities.maps.found import Found

_SHARED: Final = ("shared_expert", "shared_experts", "shared_mlp")


@dataclass(frozen=True, slots=True)
class _Mlp:
    """Names of one kind of MLP: what its inner units are rows of, and what they are columns of.

    `outer`: how often the sequence of units repeats in the rows, 2 for gate and up in one weight.
    """

    rows: tuple[str, ...]
    columns: str
    outer: int = 1

    @property
    def weights(self) -> tuple[str, ...]:
        """The tails of its weights' names."""
        return tuple(f"{name}.weight" for name in (*self.rows, self.columns))

    def ties(self) -> tuple[ChannelSlice, ...]:
        """Return where its units are."""
        rows = (
            ChannelSlice(f"{name}.{kind}", outer=self.outer, may_be_missing=kind == "bias")
            for name in self.rows
            for kind in ("weight", "bias")
        )
        return (*rows, ChannelSlice(f"{self.columns}.weight", dim=1))


_GATED: Final = (
    _Mlp(("gate_proj", "up_proj"), "down_proj"),
    _Mlp(("gate_up_proj",), "down_proj", outer=2),
    _Mlp(("proj_1",), "proj_2", outer=2),
    _Mlp(("w1", "w3"), "w2"),
)
_PLAIN: Final = (
    _Mlp(("intermediate.dense",), "output.dense"),
    _Mlp(("fc1",), "fc2"),
)


def llama_mlp(shapes: Shapes, head_dim: int | None, path: str) -> Iterator[Found]:  # noqa: ARG001 - one signature
    """Return the MLPs with a gate, also those of experts whose weights are stacked."""
    blocks = Blocks(shapes)
    for mlp in _GATED:
        yield from _found(blocks, mlp, path, "llama_mlp")
    for prefix in blocks.with_all("gate_up_proj", "down_proj"):
        if (group := _stacked(blocks, prefix)) is not None:
            yield Found(prefix, prefix, group)


def bert_ffn(shapes: Shapes, head_dim: int | None, path: str) -> Iterator[Found]:  # noqa: ARG001
    """Return the feed-forward blocks without a gate."""
    blocks = Blocks(shapes)
    for mlp in _PLAIN:
        yield from _found(blocks, mlp, path, "bert_ffn")


def _found(blocks: Blocks, mlp: _Mlp, path: str, map_name: str) -> Iterator[Found]:
    ties = mlp.ties()
    for prefix in blocks.with_all(*mlp.weights):
        _check_others(blocks, prefix, mlp, path, map_name)
        yield Found(prefix, prefix, ChannelGroup(ties=ties, config={_field(prefix): 1}))


def _check_others(blocks: Blocks, prefix: str, mlp: _Mlp, path: str, map_name: str) -> None:
    """Refuse a norm over the inner units, or whatever else has as many entries; not if inputs are as many."""
    down = blocks.shape(prefix, f"{mlp.columns}.weight") or ()
    if len(down) < 2 or down[0] == down[1]:
        return
    for tail, shape in blocks.others(prefix, mlp.weights):
        if shape == (down[1],):
            refuse_uncoupled(prefix, tail, shape, path, map_name)


def _stacked(blocks: Blocks, prefix: str) -> ChannelGroup | None:
    """Couple unit u of all experts, stacked along dim 0, gate before up; None if the shapes are others.

    With biases (gpt-oss) gate and up alternate in some models and not in others, so that these are left out.
    """
    gate_up, down = blocks.shape(prefix, "gate_up_proj") or (), blocks.shape(prefix, "down_proj") or ()
    if not len(gate_up) == len(down) == 3 or blocks.shape(prefix, "gate_up_proj_bias") is not None:
        return None
    experts, first, second = down
    if gate_up == (experts, second, 2 * first):  # weights of (in, out)
        dims = 2, 1
    elif gate_up == (experts, 2 * second, first):
        dims = 1, 2
    else:
        return None
    ties = (ChannelSlice("gate_up_proj", dim=dims[0], outer=2), ChannelSlice("down_proj", dim=dims[1]))
    return ChannelGroup(ties=ties, config={"moe_intermediate_size": 1})


def _field(prefix: str) -> str:
    """Return the field of config.json that counts the units of a block; a folder's config may call it otherwise."""
    *_, parent, last = ("", *prefix.split("."))
    if last in _SHARED:
        return "shared_expert_intermediate_size"
    return "moe_intermediate_size" if parent == "experts" and last.isdecimal() else "intermediate_size"
