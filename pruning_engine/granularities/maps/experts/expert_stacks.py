"""Where a checkpoint has experts: one tensor per expert, or all experts stacked along dim 0 of one tensor.

Shared experts are not among them: every token takes them, and no router chooses them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from pruning_engine.granularities.maps.blocks import Blocks, Shape

_STACKED_DIMS: Final = 3
_SHARED: Final = "shared"
_OUTPUTS: Final = ("output_linear", "down_proj")
"""The last weight of stacked experts that their block holds itself: Granite and JetMoE; Step."""

_MODULES: Final = frozenset({"input_linear", "gate_up_proj", "gate_proj", "up_proj", *_OUTPUTS})


@dataclass(slots=True)
class ExpertStack:
    """The experts of one block.

    `block`: the prefix of the names of router and experts. `holder`: that of the experts alone; the same where the
    block holds them itself. `numbered`: the tails of each number's tensors, empty if experts are stacked. `stacked`:
    the tensors of all experts together, by tail below `block`.
    """

    block: str
    holder: str
    numbered: dict[int, set[str]] = field(default_factory=dict)
    stacked: dict[str, Shape] = field(default_factory=dict)

    @property
    def weights(self) -> dict[str, Shape]:
        """The stacked tensors that have a matrix or more of each expert."""
        return {tail: shape for tail, shape in self.stacked.items() if len(shape) >= _STACKED_DIMS}

    @property
    def holder_tail(self) -> str:
        """The name of the holder below the block; empty if the block holds the experts itself."""
        return below(self.holder, self.block)


def expert_stacks(blocks: Blocks) -> list[ExpertStack]:
    """Return the experts of each block, in the order of names."""
    stacks = {each.block: each for each in _held_by_blocks(blocks)}
    direct = frozenset(stacks)
    for name, shape in blocks.shapes.items():
        place = _place(name)
        if place is None or place[0] in direct:
            continue
        holder, tail = place
        stack = stacks.setdefault(holder, ExpertStack(holder.rpartition(".")[0], holder))
        number, _, rest = tail.partition(".")
        if number.isdecimal() and rest:
            stack.numbered.setdefault(int(number), set()).add(rest)
        else:
            stack.stacked[below(name, stack.block)] = shape
    return sorted(stacks.values(), key=lambda stack: stack.holder.encode())


def below(name: str, prefix: str) -> str:
    """Return what follows a prefix and its dot in a name."""
    return name.removeprefix(prefix).removeprefix(".")


def is_shared(tail: str) -> bool:
    """Whether a tensor belongs to shared experts, or to the gate that weighs them."""
    return _SHARED in tail


def _held_by_blocks(blocks: Blocks) -> Iterator[ExpertStack]:
    """Return the blocks that hold the stacked weights of their experts themselves."""
    for output in _OUTPUTS:
        for block in blocks.with_all(f"{output}.weight"):
            shape = blocks.shape(block, f"{output}.weight") or ()
            is_list = output == "down_proj" and _is_holder(block.rpartition(".")[2])
            if len(shape) == _STACKED_DIMS and not is_list and not is_shared(block):
                parts = {tail: each for tail, each in blocks.others(block, ()) if tail.partition(".")[0] in _MODULES}
                yield ExpertStack(block, block, stacked=parts)


def _place(name: str) -> tuple[str, str] | None:
    """Return the prefix that ends in a list of experts, and what follows; None if a name has none."""
    segments = name.split(".")
    for at, segment in enumerate(segments[:-1]):
        if _SHARED in segment:
            return None
        if _is_holder(segment):
            return ".".join(segments[: at + 1]), ".".join(segments[at + 1 :])
    return None


def _is_holder(segment: str) -> bool:
    return segment.endswith("experts") and _SHARED not in segment
