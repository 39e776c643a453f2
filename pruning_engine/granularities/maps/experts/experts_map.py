"""The map of experts: each block of a mixture of experts with its router, in whichever layout the file has.

Blocks of multi-token-prediction layers are found as others are: one field of config.json counts the experts of both,
and whatever serves such a layer builds it from that field.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from pruning_engine.granularities.channel_groups import ChannelGroup, ChannelSlice
from pruning_engine.granularities.maps.blocks import Blocks, Shapes
from pruning_engine.granularities.maps.experts.expert_stacks import ExpertStack, below, expert_stacks
from pruning_engine.granularities.maps.experts.refusals import refuse_block, refuse_product_keys
from pruning_engine.granularities.maps.experts.routers import corrections_beside, layer_of, router_of, router_rows
from pruning_engine.granularities.maps.found import Found

_PREDICTS: Final = ("eh_proj.weight", "enorm.weight", "hnorm.weight")
"""Tensors that only multi-token-prediction layers have (DeepSeek-V3, GLM-4.5)."""

_PREDICTION: Final = ("mtp", "nextn")
_SCALES: Final = ("_scale", "_scales", "_scale_inv", "scale")


def experts(shapes: Shapes, head_dim: int | None, path: str) -> Iterator[Found]:  # noqa: ARG001 - one signature
    """Return the experts of all blocks. Raises: MismatchError naming the tensor of a block that is not understood."""
    blocks = Blocks(shapes)
    yield from (_found(blocks, stack, path) for stack in _stacks(blocks, path))


def experts_of_layers(shapes: Shapes, head_dim: int | None, path: str) -> Iterator[Found]:  # noqa: ARG001
    """Return the experts of all blocks but those of multi-token-prediction layers."""
    blocks = Blocks(shapes)
    stacks = (stack for stack in _stacks(blocks, path) if not _predicts(blocks, stack.block))
    yield from (_found(blocks, stack, path) for stack in stacks)


def experts_of_mtp(shapes: Shapes, head_dim: int | None, path: str) -> Iterator[Found]:  # noqa: ARG001
    """Return the experts of multi-token-prediction layers."""
    blocks = Blocks(shapes)
    stacks = (stack for stack in _stacks(blocks, path) if _predicts(blocks, stack.block))
    yield from (_found(blocks, stack, path) for stack in stacks)


def _stacks(blocks: Blocks, path: str) -> Iterator[ExpertStack]:
    """Return the experts of each block, which has one list of them."""
    refuse_product_keys(blocks, path)
    seen: dict[str, str] = {}
    for stack in expert_stacks(blocks):
        if stack.numbered or stack.weights or len(stack.stacked) > 1:
            other = seen.setdefault(stack.block, stack.holder)
            if other != stack.holder:
                refuse_block(stack.block, stack.holder_tail, path, f"it has two lists, {other!r} and {stack.holder!r}")
            yield stack


def _found(blocks: Blocks, stack: ExpertStack, path: str) -> Found:
    count, ties = _numbered(stack, path) if stack.numbered else _stacked(blocks, stack, path)
    router = router_of(blocks, stack, count, path)
    beside = corrections_beside(blocks, stack, count)
    prefix = layer_of(stack.block) if beside else stack.block
    inside = below(stack.block, prefix)
    moved = (replace(tie, tensor=f"{inside}.{tie.tensor}" if inside else tie.tensor) for tie in (*ties, *router.ties))
    corrections = (ChannelSlice(below(name, prefix), scored=False) for name in beside)
    group = ChannelGroup(ties=(*moved, *corrections), units=count)
    return Found(stack.block, prefix, group, routers=(f"{inside}.{router.weight}" if inside else router.weight,))


def _predicts(blocks: Blocks, block: str) -> bool:
    """Whether a block is in a multi-token-prediction layer."""
    is_named = any(segment.startswith(_PREDICTION) for segment in block.split("."))
    layer = layer_of(block)
    return is_named or any(f"{layer}.{tail}" in blocks.shapes for tail in _PREDICTS)


def _numbered(stack: ExpertStack, path: str) -> tuple[int, tuple[ChannelSlice, ...]]:
    """Return the number of experts that have all tensors, from 0 on, and a tie for each of these."""
    tails = stack.numbered.get(0, set())
    count = 0
    while tails and tails <= stack.numbered.get(count, set()):
        count += 1
    for number, there in sorted(stack.numbered.items()):
        if number < count and there == tails:
            continue
        missing = min(tails - there, default=min(there - tails, default=""))
        if number > count and count not in stack.numbered:
            text = f"it has tensors of expert {number} and none of expert {count}"
            refuse_block(stack.block, stack.holder_tail, path, f"{text}; prune all files of the model together")
        if number < count or there >= tails or not there < tails:
            text = f"experts 0 and {number} have different tensors: {missing!r} is of one of them"
            refuse_block(stack.block, f"{stack.holder_tail}.{number}.{missing}", path, text)
    holder = f"{stack.holder_tail}." if stack.holder_tail else ""
    names = (f"{holder}{{unit}}.{tail}" for tail in sorted(tails))
    return count, tuple(ChannelSlice(name, scored=None if _is_weight(name) else False) for name in names)


def _stacked(blocks: Blocks, stack: ExpertStack, path: str) -> tuple[int, tuple[ChannelSlice, ...]]:
    """Return the number of experts, and a tie for each tensor that has all of them along dim 0."""
    if not stack.weights:
        return _rows_of_experts(blocks, stack, path)
    counts = {shape[0]: tail for tail, shape in stack.weights.items()}
    if len(counts) > 1:
        (first, a), (second, b) = list(counts.items())[:2]
        refuse_block(stack.block, b, path, f"{a!r} has {first} along dim 0 and {b!r} has {second}")
    (count,) = counts
    ties = []
    for tail, shape in stack.stacked.items():
        if shape and shape[0] == count:
            scores = tail in stack.weights and _is_weight(tail)
            ties.append(ChannelSlice(tail, scored=None if scores else False))
        elif count in shape:
            refuse_block(stack.block, tail, path, f"{tail!r} of shape {list(shape)} has {count}, but not along dim 0")
    return count, tuple(ties)


def _rows_of_experts(blocks: Blocks, stack: ExpertStack, path: str) -> tuple[int, tuple[ChannelSlice, ...]]:
    """Return the ties of experts whose rows follow each other in one matrix (DBRX); the router has a row for each."""
    count = router_rows(blocks, stack)
    if count is None:
        refuse_block(
            stack.block, "", path, f"{stack.holder!r} has no stacked weights, and no router says how many it has"
        )
    for tail, shape in stack.stacked.items():
        if len(shape) != 2 or shape[0] % count:
            refuse_block(stack.block, tail, path, f"{tail!r} of shape {list(shape)} is not {count} experts along dim 0")
    ties = (ChannelSlice(tail, inner=shape[0] // count) for tail, shape in stack.stacked.items())
    return count, tuple(ties)


def _is_weight(name: str) -> bool:
    """Whether a tensor may be a weight, by its name: not a scale or a bias."""
    return not name.endswith((*_SCALES, "bias"))
