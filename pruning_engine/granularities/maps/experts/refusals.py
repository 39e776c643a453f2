"""Refusals of blocks whose experts cannot be removed safely."""

from typing import NoReturn

from pruning_engine.errors import MismatchError, Reason


def refuse_block(block: str, tail: str, path: str, text: str) -> NoReturn:
    """Refuse a block of experts: what is wrong with it, and what to do. Raises: MismatchError naming the tensor."""
    raise MismatchError(
        Reason.TIE_MISFIT,
        f"{path}.map: experts of block {block!r} cannot be removed: {text}. Couple the block's tensors in groups of "
        f"your own if removing is right for it",
        field=f"{path}.map",
        tensor=f"{block}.{tail}" if tail else block,
    )
