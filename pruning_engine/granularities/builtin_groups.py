"""Built-in maps: the coupled channels of common models, found by names and shapes of tensors.

A map replaces groups that could be written by hand, for models of any depth and prefix. It looks for blocks: prefixes
of names under which the checkpoint has all tensors of the map.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

from pruning_engine.errors import MismatchError, Reason, RecipeError
from pruning_engine.granularities.channel_groups import ChannelGroup, ChannelSlice, refuse

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
"""The shape of each of a checkpoint's parameters, by name."""

HEAD_DIM: Final = "granularity.units.head_dim"


@dataclass(frozen=True, slots=True)
class Found:
    """A group that a map has found: its name, the prefix of its tensors' names, and the number of its pattern."""

    name: str
    prefix: str
    group: ChannelGroup
    pattern: int = 0


@dataclass(frozen=True, slots=True)
class GroupMap:
    """Its description in a sentence, the fields of a rule that it needs, and the function that finds its groups."""

    description: str
    parameters: tuple[str, ...]
    find: Callable[[Shapes, int | None, str], Iterator[Found]]


def check_map(name: str, head_dim: int | None, path: str) -> None:
    """Refuse an unknown map, and a head_dim that is missing or not used. `path`: of the granularity's units.

    Raises: RecipeError.
    """
    if name and name not in MAPS:
        raise RecipeError(
            Reason.UNKNOWN_MAP,
            f"{path}.map: map {name!r} is unknown; available maps: {', '.join(MAPS)}",
            field=f"{path}.map",
        )
    takes_head_dim = bool(name) and HEAD_DIM in MAPS[name].parameters
    if takes_head_dim and head_dim is None:
        refuse(f"{path}.head_dim", f"map {name!r} needs the size of one attention head; take it from config.json")
    if head_dim is not None and not takes_head_dim:
        refuse(f"{path}.head_dim", "only a map that needs head_dim takes one; leave it out")


def mapped_groups(name: str, head_dim: int | None, shapes: Shapes, path: str) -> list[Found]:
    """Return the groups of a map, in the order of names. Raises: MismatchError if the checkpoint has none."""
    found = list(MAPS[name].find(shapes, head_dim, path))
    if not found:
        raise MismatchError(
            Reason.SELECTS_NOTHING,
            f"{path}.map: the checkpoint has no block that map {name!r} fits: {MAPS[name].description}",
            field=f"{path}.map",
        )
    return found


def _blocks(shapes: Shapes, *tails: str) -> Iterator[str]:
    """Return the prefixes under which the checkpoint has all of these names."""
    for name in shapes:
        prefix = name.removesuffix("." + tails[0])
        if prefix != name and all(f"{prefix}.{tail}" in shapes for tail in tails[1:]):
            yield prefix


def _llama_mlp(shapes: Shapes, head_dim: int | None, path: str) -> Iterator[Found]:  # noqa: ARG001 - one signature for all maps
    ties = (
        ChannelSlice("gate_proj.weight"),
        ChannelSlice("gate_proj.bias", may_be_missing=True),
        ChannelSlice("up_proj.weight"),
        ChannelSlice("up_proj.bias", may_be_missing=True),
        ChannelSlice("down_proj.weight", dim=1),
    )
    for prefix in _blocks(shapes, "gate_proj.weight", "up_proj.weight", "down_proj.weight"):
        yield Found(prefix, prefix, ChannelGroup(ties=ties, config={"intermediate_size": 1}))


def _llama_kv_groups(shapes: Shapes, head_dim: int | None, path: str) -> Iterator[Found]:
    names = ("k_proj.weight", "q_proj.weight", "v_proj.weight", "o_proj.weight")
    for prefix in _blocks(shapes, *names):
        heads = [shapes[f"{prefix}.{name}"][0] if shapes[f"{prefix}.{name}"] else 0 for name in names[:2]]
        kv_heads, q_heads = (
            _heads(rows, head_dim or 1, f"{prefix}.{name}", path) for rows, name in zip(heads, names[:2], strict=True)
        )
        if q_heads % kv_heads:
            raise MismatchError(
                Reason.TIE_MISFIT,
                f"{path}.head_dim: {head_dim} makes {q_heads} query heads and {kv_heads} key and value heads of "
                f"{prefix!r}, but the first must be a multiple of the second",
                field=f"{path}.head_dim",
                tensor=f"{prefix}.q_proj.weight",
            )
        yield Found(prefix, prefix, _kv_groups(q_heads // kv_heads, head_dim or 1))


def _heads(rows: int, head_dim: int, name: str, path: str) -> int:
    if not rows or rows % head_dim:
        raise MismatchError(
            Reason.TIE_MISFIT,
            f"{path}.head_dim: tensor {name!r} has {rows} rows, which are not whole heads of {head_dim}; take head_dim "
            f"from the model's config.json, or hidden_size / num_attention_heads",
            field=f"{path}.head_dim",
            tensor=name,
        )
    return rows // head_dim


def _kv_groups(queries: int, head_dim: int) -> ChannelGroup:
    """Couple key and value heads with the query heads that they serve."""
    ties = [
        ChannelSlice(
            f"{part}_proj.{kind}", inner=head_dim * (queries if part == "q" else 1), may_be_missing=kind == "bias"
        )
        for part in ("k", "v", "q")
        for kind in ("weight", "bias")
    ]
    out = ChannelSlice("o_proj.weight", dim=1, inner=head_dim * queries)
    return ChannelGroup(ties=(*ties, out), config={"num_key_value_heads": 1, "num_attention_heads": queries})


def _bert_ffn(shapes: Shapes, head_dim: int | None, path: str) -> Iterator[Found]:  # noqa: ARG001
    ties = (
        ChannelSlice("intermediate.dense.weight"),
        ChannelSlice("intermediate.dense.bias", may_be_missing=True),
        ChannelSlice("output.dense.weight", dim=1),
    )
    for prefix in _blocks(shapes, "intermediate.dense.weight", "output.dense.weight"):
        yield Found(prefix, prefix, ChannelGroup(ties=ties, config={"intermediate_size": 1}))


def _resnet(convolutions: int, shapes: Shapes) -> Iterator[Found]:
    """Couple each convolution of a block with the next one; the channels of the last are the residual's."""
    names = [f"layer.{at}.convolution.weight" for at in range(convolutions)]
    for prefix in _blocks(shapes, *names):
        if f"{prefix}.layer.{convolutions}.convolution.weight" not in shapes:
            for at in range(convolutions - 1):
                yield Found(
                    f"{prefix}.layer.{at}", f"{prefix}.layer", ChannelGroup(ties=_convolution_ties(at)), pattern=at
                )


def _convolution_ties(at: int) -> tuple[ChannelSlice, ...]:
    normalization = ("weight", "bias", "running_mean", "running_var")
    return (
        ChannelSlice(f"{at}.convolution.weight"),
        *(ChannelSlice(f"{at}.normalization.{kind}", may_be_missing=True) for kind in normalization),
        ChannelSlice(f"{at + 1}.convolution.weight", dim=1),
    )


def _resnet_basic(shapes: Shapes, head_dim: int | None, path: str) -> Iterator[Found]:  # noqa: ARG001
    return _resnet(2, shapes)


def _resnet_bottleneck(shapes: Shapes, head_dim: int | None, path: str) -> Iterator[Found]:  # noqa: ARG001
    return _resnet(3, shapes)


MAPS: Final[Mapping[str, GroupMap]] = MappingProxyType(
    {
        "llama_mlp": GroupMap(
            "MLPs of LLaMA's kind (gate_proj, up_proj, down_proj; also Mistral, Qwen, Gemma): their inner width.",
            (),
            _llama_mlp,
        ),
        "llama_kv_groups": GroupMap(
            "Attention of LLaMA's kind (q_proj, k_proj, v_proj, o_proj): whole key and value heads, each with the "
            "query heads that it serves.",
            (HEAD_DIM,),
            _llama_kv_groups,
        ),
        "bert_ffn": GroupMap(
            "Feed-forward blocks of BERT's kind (intermediate.dense and output.dense, as in RoBERTa, ViT and MiniLM): "
            "their inner width.",
            (),
            _bert_ffn,
        ),
        "resnet_basic": GroupMap(
            "ResNet blocks of two convolutions, as transformers names them: the channels between the two, with their "
            "batch normalization.",
            (),
            _resnet_basic,
        ),
        "resnet_bottleneck": GroupMap(
            "ResNet blocks of three convolutions, as transformers names them: the channels from each to the next, with "
            "their batch normalization.",
            (),
            _resnet_bottleneck,
        ),
    }
)
"""Every built-in map by its name."""
