"""The map of a vocabulary: the rows of the embeddings, of the output head and of its bias, one unit for each token.

All embeddings of token ids that a model has take part, and the head, whether it is a tensor of its own or tied to them.
What else is along the vocabulary is refused by name: the model would look up rows that are no longer there.
"""

from collections.abc import Iterator
from typing import Final, NoReturn

from pruning_engine.errors import MismatchError, Reason
from pruning_engine.granularities.channel_groups import ChannelGroup, ChannelSlice
from pruning_engine.granularities.maps.blocks import Shape, Shapes
from pruning_engine.granularities.maps.found import Found

_EMBEDDINGS: Final = frozenset(
    {
        *("embed_tokens", "word_embeddings", "wte", "shared", "tok_embeddings", "embed_in", "embeddings"),
        *("word_embedding", "tokens_embed", "token_embedding", "transformer.w"),
    }
)
"""What models call the module of the embeddings of token ids: its last segment, or two. Compared with the language
models of transformers 5.23."""

_HEADS: Final = frozenset(
    {
        *("lm_head", "lm_head.decoder", "lm_head.out_proj", "embed_out", "predictions.decoder", "generator_lm_head"),
        *("vocab_projector", "pred_layer.proj", "lm_loss", "proj_out", "output_projection", "shared_head.head"),
    }
)
"""What models call the output head; it has a row for each token."""

_PERHAPS_HEADS: Final = frozenset({"decoder", "output", "head", "head.decoder"})
"""Names of an output head in some models and of other layers in others; it is one if it has a row for each token."""

_IN_LAYERS: Final = frozenset({"embed_tokens", "shared_head.head"})
"""Embeddings and heads that layers for the prediction of several tokens have (DeepSeek)."""

_PER_LAYER: Final = "embed_tokens_per_layer.weight"
"""Embeddings of token ids for the layers (Gemma 3n and 4), which have rows for the same ids if they are as many."""

_ALONG_DIM: Final = {"predictions.bias": 0, "final_logits_bias": 1, "predictions.dense.weight": 1}
"""Tensors beside the head, and their dim of the tokens: BERT's bias, BART's, the second half of MobileBERT's head."""

_BY_TOKEN_ID: Final = ("tid2eid", "d2t", "t2d", "value_embeddings", "additional_embedding", "hash_tok_embedding")
"""Parts of names of tensors that are looked up by token id, or have ids in them."""

_NOT_BY_TOKEN_ID: Final = ("position", "wpe", "token_type", "segment", "norm")
"""Parts of names of tensors that have other rows, however many: positions, and kinds of segments."""


def vocabulary(shapes: Shapes, head_dim: int | None, path: str) -> Iterator[Found]:  # noqa: ARG001 - one signature
    """Return the vocabulary, as one group. Raises: MismatchError if what is along it does not fit together."""
    embeddings = [name for name, shape in shapes.items() if len(shape) == 2 and _is_module(name, _EMBEDDINGS, "weight")]
    if not embeddings:
        return
    name = min(embeddings, key=lambda each: (len(each), each))
    rows = shapes[name][0]
    ties = {each: ChannelSlice(each) for each in embeddings}
    for each, shape in shapes.items():
        if (dim := _dim(each, shape, rows)) is not None:
            ties[each] = ChannelSlice(each, dim=dim)
        elif each in ties or _is_module(each, _HEADS, "weight") or each.endswith(_PER_LAYER):
            if shape[0] != rows:
                _refuse_other_rows(name, each, shapes, path)
        elif _is_along(each, shape, rows):
            _refuse_uncoupled(name, each, shape, path)
    yield Found(name, "", ChannelGroup(ties=(ties.pop(name), *ties.values()), config={"vocab_size": 1}))


def _dim(name: str, shape: Shape, rows: int) -> int | None:
    """Return the dim along which a head, a bias or embeddings per layer have the tokens; None for other tensors."""
    for tail, dim in _ALONG_DIM.items():
        if f".{name}".endswith(f".{tail}") and len(shape) > dim and shape[dim] == rows:
            return dim
    is_head = _is_module(name, _HEADS, "weight", "bias") or _is_module(name, _PERHAPS_HEADS, "weight", "bias")
    return 0 if shape[:1] == (rows,) and (is_head or name.endswith(_PER_LAYER)) else None


def _is_along(name: str, shape: Shape, rows: int) -> bool:
    """Whether a tensor has a row for each token: outside of layers, what is as long; anywhere, by its name."""
    if any(part in name for part in _BY_TOKEN_ID):
        return True
    return rows in shape and not _is_in_layer(name) and not any(part in name for part in _NOT_BY_TOKEN_ID)


def _is_in_layer(name: str) -> bool:
    return any(segment.isdecimal() for segment in name.split("."))


def _is_module(name: str, modules: frozenset[str], *tails: str) -> bool:
    """Whether a tensor is the weight, or what `tails` are, of one of these modules; few of them are in layers."""
    module, _, tail = name.rpartition(".")
    parent, _, last = module.rpartition(".")
    last_two = f"{parent.rpartition('.')[2]}.{last}"
    found = next((end for end in (last, last_two) if end in modules), None)
    return tail in tails and found is not None and (found in _IN_LAYERS or not _is_in_layer(module))


def _refuse_other_rows(embeddings: str, other: str, shapes: Shapes, path: str) -> NoReturn:
    raise MismatchError(
        Reason.TIE_MISFIT,
        f"{path}.map: the vocabulary {embeddings!r} has {shapes[embeddings][0]:,} rows and {other!r} has "
        f"{shapes[other][0]:,}, so it is not known which rows belong to one token; bring both to the same number of "
        f"rows first, or couple the rows in groups of your own",
        field=f"{path}.map",
        tensor=other,
    )


def _refuse_uncoupled(embeddings: str, name: str, shape: Shape, path: str) -> NoReturn:
    raise MismatchError(
        Reason.TIE_MISFIT,
        f"{path}.map: tensor {name!r} of shape {list(shape)} is along the vocabulary {embeddings!r}, and map "
        f"'vocabulary' does not know what it is; such a model would look up other rows. Couple it in groups of your "
        f"own if removing its rows is right",
        field=f"{path}.map",
        tensor=name,
    )
