"""What else of a block has one entry per expert: rows and biases of the router, corrections of its scores.

Whatever has the size of the experts and is not known is refused by name, so that no router keeps a row too many.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pruning_engine.granularities.channel_groups import ChannelSlice
from pruning_engine.granularities.maps.blocks import Blocks, Shape
from pruning_engine.granularities.maps.experts.expert_stacks import ExpertStack, is_shared
from pruning_engine.granularities.maps.experts.refusals import refuse_block

_ROUTERS: Final = frozenset({"gate", "router", "wg"})
"""Segments of names that stand for a router: `mlp.gate`, `block_sparse_moe.gate`, `router.layer`, `gate.wg`."""

_CORRECTIONS: Final = (
    *("e_score_correction_bias", "expert_bias", "router_bias", "routing_bias", "correction_bias", "gate_bias"),
    *("balancing_biases", "per_expert_scale"),
)
"""Last segments of what corrects the router's scores, wherever it is: `moe_statics.e_score_correction_bias` (ERNIE)."""

_EXPERT_NUMBERS: Final = "tid2eid"
"""The last segment of a table whose values are numbers of experts (DeepSeek-V4)."""

_NOT_OF_EXPERTS: Final = (
    *("norm", "latent", "attention", "attn", ".scale"),
    *(".down_proj.", ".router_mlp.fc", ".router_states_scale"),  # hidden layers of a router (Zaya)
)
"""Parts of the names of tensors that never have one entry per expert, whatever their sizes."""

_WITH_MORE_ROWS: Final = ("router.classifier.weight", "router_mlp.out_proj.weight")
"""Routers that also choose experts without weights (LongCat, Zaya): their rows follow those of the experts.

So do rows of shared experts that a router weighs (Inkling): as many as there are shared experts in one tensor.
"""


@dataclass(frozen=True, slots=True)
class Router:
    """The slices of a block's router and its corrections, and the name of its weight below the block."""

    ties: tuple[ChannelSlice, ...]
    weight: str


def router_of(blocks: Blocks, stack: ExpertStack, experts: int, path: str) -> Router:
    """Return what has one entry per expert beside them. Raises: MismatchError naming the tensor at fault."""
    others = dict(_others(blocks, stack))
    rows = _rows(others, stack, experts, _shared_experts(blocks, stack), path)
    coupled = {tail: shape for tail, shape in others.items() if {rows, experts} & {*shape} and _is_known(tail)}
    for tail in others.keys() - coupled.keys():
        for size in {rows, experts}:
            _check_uncoupled(tail, others[tail], size, stack, path)
    weights = [tail for tail, shape in coupled.items() if _is_weight(tail, shape)]
    if not weights:
        known = "known names end in gate, router, router.layer or gate.wg, and .weight"
        refuse_block(stack.block, "", path, f"it has no router with {rows} rows; {known}")
    if len(weights) > 1:
        refuse_block(stack.block, weights[1], path, f"either of {' and '.join(weights)} may be its router")
    sizes = {tail: rows if rows in shape else experts for tail, shape in coupled.items()}
    return Router(tuple(_tie(tail, coupled[tail], size, stack, path) for tail, size in sizes.items()), weights[0])


def corrections_beside(blocks: Blocks, stack: ExpertStack, experts: int) -> tuple[str, ...]:
    """Return what corrects the router's scores and is in the block's layer, but outside of the block (Kolibri)."""
    layer = layer_of(stack.block)
    if layer in {"", stack.block}:
        return ()
    beside = ((f"{layer}.{tail}", shape) for tail, shape in blocks.others(layer, ()))
    return tuple(
        name
        for name, shape in beside
        if name.endswith(_CORRECTIONS) and shape == (experts,) and not name.startswith(f"{stack.block}.")
    )


def router_rows(blocks: Blocks, stack: ExpertStack) -> int | None:
    """Return the rows of a block's only router, where experts are not counted otherwise; None if there is not one."""
    rows = {shape[0] for tail, shape in _others(blocks, stack) if _is_weight(tail, shape)}
    return rows.pop() if len(rows) == 1 else None


def layer_of(block: str) -> str:
    """Return the prefix of the layer that a block is in: up to the last number in its name."""
    segments = block.split(".")
    last = max((at for at, segment in enumerate(segments) if segment.isdecimal()), default=-1)
    return ".".join(segments[: last + 1])


def _others(blocks: Blocks, stack: ExpertStack) -> Iterator[tuple[str, Shape]]:
    """Return what the block has beside its experts and shared experts, by tail."""
    numbered = f"{stack.holder_tail}." if stack.numbered else None
    for tail, shape in blocks.others(stack.block, ()):
        is_numbered = numbered is not None and tail.startswith(numbered) and tail[len(numbered)].isdecimal()
        if not is_numbered and (stack.numbered or tail not in stack.stacked) and not is_shared(tail):
            yield tail, shape


def _shared_experts(blocks: Blocks, stack: ExpertStack) -> int:
    """Return how many shared experts a block has that are stacked in one tensor; 0 if there are none."""
    shared = (shape for tail, shape in blocks.others(stack.block, ()) if is_shared(tail) and len(shape) > 2)
    return next((shape[0] for shape in shared), 0)


def _rows(others: dict[str, Shape], stack: ExpertStack, experts: int, shared: int, path: str) -> int:
    """Return the rows of the router: more than there are experts if it knows others without weights, or weighs the
    shared ones too.
    """
    for tail, shape in others.items():
        if _is_weight(tail, shape) and experts not in shape and shape[0] > experts:
            if tail.endswith(_WITH_MORE_ROWS) or shape[0] == experts + shared:
                return shape[0]
            text = f"it has the tensors of {experts} experts and a router of {shape[0]} rows"
            refuse_block(
                stack.block,
                tail,
                path,
                f"{text}; if the others are in other files of the model, prune all files together",
            )
    return experts


def _is_known(tail: str) -> bool:
    """Whether a tensor with the size of the experts has one entry for each, by its name."""
    is_router = bool(_ROUTERS & set(tail.split("."))) and not tail.endswith(_EXPERT_NUMBERS)
    return tail.endswith(_CORRECTIONS) or (is_router and not _is_elsewhere(tail))


def _is_weight(tail: str, shape: Shape) -> bool:
    """Whether a tensor is the weight of a router."""
    is_matrix = len(shape) == 2
    return is_matrix and tail.endswith(".weight") and bool(_ROUTERS & set(tail.split("."))) and not _is_elsewhere(tail)


def _is_elsewhere(tail: str) -> bool:
    return any(part in f".{tail}" for part in _NOT_OF_EXPERTS)


def _tie(tail: str, shape: Shape, rows: int, stack: ExpertStack, path: str) -> ChannelSlice:
    """Return where the experts are in a tensor of the router: along the first dim of their number."""
    dim = shape.index(rows)
    if not (dim == 0 or shape[:dim] == (1,) * dim or _is_weight(tail, shape)):
        refuse_block(stack.block, tail, path, f"{tail} of shape {list(shape)} does not have one row per expert")
    return ChannelSlice(tail, dim=dim, scored=False)


def _check_uncoupled(tail: str, shape: Shape, rows: int, stack: ExpertStack, path: str) -> None:
    """Refuse what may have one entry per expert, unless the block is a whole layer, where sizes say nothing."""
    if tail.endswith(_EXPERT_NUMBERS):
        refuse_block(stack.block, tail, path, f"the values of {tail} are numbers of experts, which would be others")
    if rows in shape and not _is_elsewhere(tail) and stack.block != layer_of(stack.block):
        text = f"{tail} of shape {list(shape)} has the size of the {rows} experts, and the map does not know it"
        refuse_block(stack.block, tail, path, text)
