"""Built-in maps: the coupled channels of common models, found by names and shapes of tensors.

A map replaces groups that could be written by hand, for models of any depth and prefix. It looks for blocks: prefixes
of names under which the checkpoint has all tensors of the map.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from pruning_engine.errors import MismatchError, Reason, RecipeError
from pruning_engine.granularities.channel_groups import ChannelGroup, ChannelSlice, refuse
from pruning_engine.granularities.maps.attention_maps import llama_kv_groups
from pruning_engine.granularities.maps.blocks import Blocks, Shapes
from pruning_engine.granularities.maps.experts.experts_map import experts, experts_of_layers, experts_of_mtp
from pruning_engine.granularities.maps.found import Found
from pruning_engine.granularities.maps.layer_maps import LAYERS, layers
from pruning_engine.granularities.maps.mlp_maps import bert_ffn, llama_mlp
from pruning_engine.granularities.maps.vocabulary import vocabulary

HEAD_DIM: Final = "granularity.units.head_dim"


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


def _resnet(convolutions: int, shapes: Shapes) -> Iterator[Found]:
    """Couple each convolution of a block with the next one; the channels of the last are the residual's."""
    names = [f"layer.{at}.convolution.weight" for at in range(convolutions)]
    for prefix in Blocks(shapes).with_all(*names):
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
            "MLPs with a gate, as in LLaMA, Mistral, Qwen, Gemma, Phi-3 and Mixtral (gate_proj, up_proj, down_proj, or "
            "gate_up_proj, or w1, w3, w2, or proj_1, proj_2 of OpenELM), dense, of routed and of shared experts: their "
            "inner width.",
            (),
            llama_mlp,
        ),
        "llama_kv_groups": GroupMap(
            "Attention of LLaMA's kind (q_proj, k_proj, v_proj, o_proj): whole key and value heads, each with the "
            "query heads that it serves, attention sinks and norms of each head.",
            (HEAD_DIM,),
            llama_kv_groups,
        ),
        "bert_ffn": GroupMap(
            "Feed-forward blocks without a gate, as in BERT, RoBERTa, MiniLM (intermediate.dense and output.dense), "
            "ViT, CLIP, OPT and Whisper (fc1 and fc2): their inner width.",
            (),
            bert_ffn,
        ),
        "experts": GroupMap(
            "Experts of a mixture of experts, each with its row of the router and its biases, also of "
            "multi-token-prediction layers; one tensor per expert (Mixtral, MiniMax, Qwen2 and Qwen3, DeepSeek, GLM-4, "
            "dots, OLMoE, ERNIE, Jamba, Phi, HunYuan, LFM2, ...) or stacked (GPT-OSS, Llama 4, Granite, JetMoE, DBRX).",
            (),
            experts,
        ),
        "experts_of_layers": GroupMap(
            "Experts as in map `experts`, but not those of multi-token-prediction layers.",
            (),
            experts_of_layers,
        ),
        "experts_of_mtp": GroupMap(
            "Experts as in map `experts`, but only those of multi-token-prediction layers.",
            (),
            experts_of_mtp,
        ),
        LAYERS: GroupMap(
            "Stacks of numbered layers (model.layers.0, transformer.h.0, bert.encoder.layer.0, encoder.block.0 and "
            "decoder.block.0, towers): whole layers with all of their tensors, of at least two that normalize vectors "
            "of one size.",
            (),
            layers,
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
        "vocabulary": GroupMap(
            "The vocabulary: rows of the embeddings of token ids (embed_tokens, word_embeddings, wte, shared, embed_in "
            "and others), of the output head and of its bias, tied or not.",
            (),
            vocabulary,
        ),
    }
)
"""Every built-in map by its name."""
