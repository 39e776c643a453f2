"""Fields of config.json that are about single layers, as transformers 5.23's 804 config classes and vLLM have them.

Beside these, any list with an entry for each layer is cut if its name has the word `layer`. Which of them a model has
was found by looking at the defaults of every config class; `tests/client/huggingface/layers/test_fields.py` looks again
at their lists.
"""

from dataclasses import dataclass
from typing import Final

COUNTS: Final = (
    *(
        "num_hidden_layers",
        "n_layer",
        "n_layers",
        "num_layers",
        "num_transformer_layers",
        "depth",
        "num_blocks",
        "layers",
    ),
    *("num_encoder_layers", "encoder_layers", "encoder_num_hidden_layers", "num_decoder_layers", "decoder_layers"),
    *("decoder_num_hidden_layers", "speech_encoder_layers", "t2u_encoder_layers", "t2u_decoder_layers"),
)
"""The number of layers. One with the word `encoder` or `decoder` is for stacks whose prefix has it, too."""

LISTS: Final = frozenset(
    {
        *("indexer_types", "activation_sparsity_pattern", "intermediate_size", "sliding_windows", "attention_window"),
        *("block_configs", "num_query_heads", "num_kv_heads", "ffn_multipliers", "hybrid_override_pattern"),
        *("num_key_value_heads", "num_attention_heads", "rope_thetas", "head_dims", "n_routed_experts"),
    }
)
"""Lists, or a text, with an entry for each layer whose names do not have the word `layer`."""

INDICES: Final = frozenset(
    {
        *("mlp_only_layers", "moe_layers", "full_attn_idxs", "attn_layer_indices", "cross_attention_layers"),
        *("fullatt_block_indexes", "global_attn_indexes", "rope_scaling_layers", "window_block_indexes"),
        *("window_block_indices", "local_layer_ids", "residual_block_indices", "ple_layer_ids"),
        *("moe_layer_indices", "dense_layers", "sparse_layers", "global_attention_blocks"),
    }
)
"""Lists of the numbers of layers of some kind."""

TAPS: Final = frozenset(
    {
        *("deepstack_visual_indexes", "intermediate_layers_indices", "extract_layers", "target_layer_ids"),
        *("intermediate_hidden_state_indices", "backbone_out_indices", "summary_idxs", "aux_hidden_state_layers"),
        *("eagle_aux_hidden_state_layer_ids",),
    }
)
"""Lists of the numbers of layers whose outputs are used elsewhere: these cannot be removed."""

FIRST: Final = frozenset(
    {
        *("first_k_dense_replace", "num_dense_layers", "max_window_layers", "num_first_full_attention_layers"),
        *("num_hash_layers", "n_hash_layers", "moe_layer_start_index", "dense_mlp_idx"),
    }
)
"""Numbers of layers from the first on, which are of another kind than those that follow."""

LAST: Final = frozenset({"num_last_full_attention_layers"})
"""Numbers of layers up to the last."""

LAST_INDEX: Final = frozenset({"moe_layer_end_index"})
"""The number of the last layer of a kind; negative ones count from the end."""

HIDDEN_STATES: Final = frozenset(
    {"vision_feature_layer", "vision_feature_layers", "spatial_vision_layer", "feature_layer", "select_layer"}
)
"""Which of a submodel's hidden states another part takes: 0 is the input of the first layer, -1 the last output."""


STAGES: Final = frozenset({"stage_names", "out_indices", "out_features"})
"""Hidden states of a backbone, and which are taken; `references` shifts them."""


@dataclass(frozen=True, slots=True)
class Period:
    """A pattern over layers: layer i is of a kind if (i - offset) is a multiple of the period.

    `offset`: the field that has it, or a number; None: not the same in all models. `lists`: fields that have the kind
    of each layer instead, where a config has one of them.
    """

    offset: str | int | None
    lists: tuple[str, ...] = ()


_TYPES: Final = ("layer_types", "layers_block_type")

PERIODS: Final = {
    "decoder_sparse_step": Period(-1, ("mlp_layer_types",)),
    "encoder_sparse_step": Period(None),
    "moe_layer_interval": Period(-1, ("mlp_layer_types",)),
    "moe_layer_freq": Period(0, ("mlp_layer_types",)),
    "interleave_moe_layer_step": Period(-1, ("moe_layers",)),
    "expert_layer_period": Period("expert_layer_offset"),
    "attn_layer_period": Period("attn_layer_offset", _TYPES),
    "no_rope_layer_interval": Period(-1, ("no_rope_layers",)),
    "sliding_window_pattern": Period(-1, _TYPES),
    "_sliding_window_pattern": Period(-1, _TYPES),
    "full_attention_interval": Period(-1, _TYPES),
    "global_attn_every_n_layers": Period(None, _TYPES),
    "layer_group_size": Period(-1, _TYPES),
    "index_topk_freq": Period(None, ("indexer_types",)),
    "block_types": Period(None, _TYPES),
    "cross_attention_frequency": Period(0),
    "cross_layer_interval": Period(None),
    "n_layers_per_attn_res_block": Period(None),
}
"""Patterns that repeat over the layers: a number, or a list or a text that is repeated."""

SHARED: Final = {
    "num_kv_shared_layers": "the last layers use keys and values of earlier ones",
    "num_mem_blocks": "layers share blocks of weights in turn",
    "num_hidden_groups": "layers share the weights of a group",
    "kv_source_layers": "layers use keys and values of other layers",
    "hidden_size_per_layer_input": "inputs of all layers are in tensors that are not theirs (embed_tokens_per_layer)",
    "scale_attn_by_inverse_layer_idx": "each layer's attention is scaled by the number of the layer",
    "share_cross_modal_transformer_layers": "layers share weights",
    "subsample_layers": "some layers shorten the sequence",
    "insert_layer_id": "another module works on the output of one of the layers",
}
"""Fields with which layers depend on others or on their number, if the value is not 0, false or empty."""

SHARED_MODELS: Final = {
    "zamba": "its attention layers share one block of weights",
    "zamba2": "its attention layers share blocks of weights in turn",
    "albert": "its layers share their weights",
    "beam": "its layers add up what earlier ones return",
    "big_bird": "the random blocks of its attention depend on the number of the layer",
    "bigbird_pegasus": "the random blocks of its attention depend on the number of the layer",
    "minimax": "the decay of its linear attention depends on the number of the layer",
    "bailing_hybrid": "the decay of its linear attention depends on the number of the layer",
    "reformer": "its layers depend on their number",
    "diffllama": "its attention depends on the number of the layer (lambda_init)",
}
"""Values of `model_type` of models whose layers depend on others or on their number, and how."""

ROOT_OF_COUNT: Final = frozenset({"scale_depth"})
"""Factors that are divided by the square root of the number of layers (MiniCPM)."""

OF_LAYER: Final = "per_layer_config"
"""A dict of the numbers of layers, as text."""

TOLERATED: Final = frozenset({"id2label", "label2id"})
"""Dicts whose keys are numbers, but not of layers."""
