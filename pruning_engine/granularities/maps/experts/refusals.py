"""Refusals of blocks whose experts cannot be removed safely."""

from typing import Final, NoReturn

from pruning_engine.errors import MismatchError, Reason
from pruning_engine.granularities.maps.blocks import Blocks

_PRODUCT_KEYS: Final = ("down_embed.weight", "up_embed.weight", "router_gate.weight")
"""Experts of one row each, which the router finds by the product of two lists of keys (Doge)."""


def refuse_block(block: str, tail: str, path: str, text: str) -> NoReturn:
    """Refuse a block of experts: what is wrong with it, and what to do. Raises: MismatchError naming the tensor."""
    raise MismatchError(
        Reason.TIE_MISFIT,
        f"{path}.map: experts of block {block!r} cannot be removed: {text}. Couple the block's tensors in groups of "
        f"your own if removing is right for it",
        field=f"{path}.map",
        tensor=f"{block}.{tail}" if tail else block,
    )


def refuse_product_keys(blocks: Blocks, path: str) -> None:
    """Refuse experts that are rows of a table and have no row of a router each. Raises: MismatchError."""
    for block in blocks.with_all(*_PRODUCT_KEYS):
        tensor = f"{block}.{_PRODUCT_KEYS[-1]}"
        raise MismatchError(
            Reason.TIE_MISFIT,
            f"{path}.map: block {block!r} has experts of one row each (Doge), which the router {tensor!r} finds by two "
            "lists of k keys: expert i * k + j by keys i and j. So single ones cannot be removed; prune single weights "
            "of its tensors instead, or remove layers",
            field=f"{path}.map",
            tensor=tensor,
        )
