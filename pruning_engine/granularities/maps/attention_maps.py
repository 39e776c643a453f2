"""The map of attention heads: key and value heads, each with the query heads that it serves.

Attention that has more per head than its four projections is coupled where that is known to be right (attention sinks,
norms with a row per head), and refused otherwise.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pruning_engine.errors import MismatchError, Reason
from pruning_engine.granularities.channel_groups import ChannelGroup, ChannelSlice
from pruning_engine.granularities.maps.blocks import Blocks, Shape, Shapes, refuse_uncoupled
from pruning_engine.granularities.maps.found import Found
from pruning_proto.counted import counted

_WEIGHTS: Final = ("k_proj.weight", "q_proj.weight", "v_proj.weight", "o_proj.weight")
_MAP: Final = "llama_kv_groups"
_FREQUENCIES: Final = "inv_freq"
"""The last part of the name of a rotary embedding's constants, which older checkpoints have."""


@dataclass(frozen=True, slots=True)
class _Heads:
    """Sizes of one attention block: its heads, the entries of each, and the rows and columns of all."""

    kv_heads: int
    q_heads: int
    head_dim: int
    k_rows: int
    q_rows: int
    v_rows: int
    o_columns: int

    @property
    def queries(self) -> int:
        """Query heads of each key and value head."""
        return self.q_heads // self.kv_heads


def llama_kv_groups(shapes: Shapes, head_dim: int | None, path: str) -> Iterator[Found]:
    """Return the attention blocks with groups of heads. Raises: MismatchError if heads of this size do not fit one."""
    blocks = Blocks(shapes)
    for prefix in blocks.with_all(*_WEIGHTS):
        heads = _heads(blocks, prefix, head_dim or 1, path)
        ties = _ties(blocks, prefix, heads)
        _check_others(blocks, prefix, heads, [tie.tensor for tie in ties], path)
        config = {"num_key_value_heads": 1, "num_attention_heads": heads.queries}
        yield Found(prefix, prefix, ChannelGroup(ties=ties, config=config))


def _heads(blocks: Blocks, prefix: str, head_dim: int, path: str) -> _Heads:
    """Return the heads of a block; a norm of queries with another size says that this layer's heads have that size."""
    k_rows, q_rows, v_rows = (_size(blocks, prefix, f"{part}_proj.weight", 0) for part in "kqv")
    o_columns = _size(blocks, prefix, "o_proj.weight", 1)
    norm = blocks.shape(prefix, "q_norm.weight") or ()
    if len(norm) == 1 and norm[0] < q_rows and norm == blocks.shape(prefix, "k_norm.weight"):
        head_dim = norm[0]
    kv_heads = _number(k_rows, head_dim, f"{prefix}.k_proj.weight", path)
    q_heads = _number(q_rows, head_dim, f"{prefix}.q_proj.weight", path)
    if v_rows and v_rows % kv_heads == 0 and o_columns and o_columns % (v_rows // kv_heads) == 0:
        q_heads = o_columns // (v_rows // kv_heads)  # q_proj may have gates beside the queries
    if q_heads % kv_heads or q_rows % kv_heads:
        raise MismatchError(
            Reason.TIE_MISFIT,
            f"{path}.head_dim: {head_dim} makes {q_heads} query heads and {kv_heads} key and value heads of "
            f"{prefix!r}, but the first must be a multiple of the second",
            field=f"{path}.head_dim",
            tensor=f"{prefix}.q_proj.weight",
        )
    return _Heads(kv_heads, q_heads, head_dim, k_rows, q_rows, v_rows, o_columns)


def _size(blocks: Blocks, prefix: str, tail: str, dim: int) -> int:
    shape = blocks.shape(prefix, tail) or ()
    return shape[dim] if len(shape) > dim else 0


def _number(rows: int, head_dim: int, name: str, path: str) -> int:
    if not rows or rows % head_dim:
        raise MismatchError(
            Reason.TIE_MISFIT,
            f"{path}.head_dim: tensor {name!r} has {counted(rows, 'row')}, which are not whole heads of "
            f"{head_dim}; take head_dim "
            f"from the model's config.json, or hidden_size / num_attention_heads",
            field=f"{path}.head_dim",
            tensor=name,
        )
    return rows // head_dim


def _ties(blocks: Blocks, prefix: str, heads: _Heads) -> tuple[ChannelSlice, ...]:
    """Couple key and value heads with the query heads that they serve, and with what there is per head."""
    inner = {"k": heads.head_dim, "v": heads.v_rows // heads.kv_heads, "q": heads.q_rows // heads.kv_heads}
    projections = (
        ChannelSlice(f"{part}_proj.{kind}", inner=inner[part], may_be_missing=kind == "bias")
        for part in ("k", "v", "q")
        for kind in ("weight", "bias")
    )
    out = ChannelSlice("o_proj.weight", dim=1, inner=max(1, heads.o_columns // heads.kv_heads))
    per_head = (
        ChannelSlice(tail, inner=each, scored=False)
        for tail, shape, each in (
            ("sinks", (heads.q_heads,), heads.queries),
            ("q_norm.weight", (heads.q_heads, heads.head_dim), heads.queries),
            ("k_norm.weight", (heads.kv_heads, heads.head_dim), 1),
        )
        if blocks.shape(prefix, tail) == shape
    )
    return (*projections, out, *per_head)


def _check_others(blocks: Blocks, prefix: str, heads: _Heads, tails: list[str], path: str) -> None:
    """Refuse what has a size of the heads and is not coupled: norms over all heads, and modules for each head."""
    sizes = {heads.kv_heads, heads.q_heads, heads.k_rows, heads.q_rows, heads.v_rows, heads.o_columns} - {1}
    others = list(blocks.others(prefix, tails))
    numbered = Counter(re.sub(r"\.\d+\.", ".*.", tail) for tail, _ in others)
    for tail, shape in others:
        is_one_of_many = numbered[re.sub(r"\.\d+\.", ".*.", tail)] in sizes
        if is_one_of_many or (sizes & set(shape) and not _is_within_heads(tail, shape, heads)):
            refuse_uncoupled(prefix, tail, shape, path, _MAP)


def _is_within_heads(tail: str, shape: Shape, heads: _Heads) -> bool:
    """Whether a tensor is the same for all heads: a norm of one head's entries, or a rotary embedding's constants."""
    return tail.endswith(_FREQUENCIES) or ("norm" in tail and shape == (heads.head_dim,))
