"""The config.json of a model that has lost layers: what is cut, what is shifted, and what is refused."""

from typing import Any

import pytest

from pruning_client.errors import MismatchError
from pruning_client.huggingface.layers.edited import with_layers_removed
from pruning_client.huggingface.layers.removal import Removal


def edited(config: dict[str, Any], kept: tuple[int, ...] = (0, 2, 3, 5), layers: int = 6) -> dict[str, Any]:
    """Return the config of a model whose layers 1 and 4 of 6 are removed."""
    return with_layers_removed({"num_hidden_layers": layers} | config, Removal("model.layers", layers, kept))


@pytest.mark.parametrize(
    "name", ["num_hidden_layers", "n_layer", "n_layers", "num_layers", "depth", "num_transformer_layers"]
)
def test_the_number_of_layers_is_set(name: str) -> None:
    config = {name: 6, "hidden_size": 6}
    assert with_layers_removed(config, Removal("model.layers", 6, (0, 1))) == {name: 2, "hidden_size": 6}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("layer_types", list("abcdef"), list("acdf")),
        ("mlp_layer_types", list("abcdef"), list("acdf")),
        ("no_rope_layers", [1, 1, 1, 0, 1, 1], [1, 1, 0, 1]),
        ("layers_block_type", list("abcdef"), list("acdf")),
        ("num_attention_heads_per_layer", [2, 4, 2, 4, 2, 4], [2, 2, 4, 4]),
        ("a_layer_list_of_tomorrow", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.1, 0.3, 0.4, 0.6]),
        ("intermediate_size", [10, 20, 30, 40, 50, 60], [10, 30, 40, 60]),
        ("block_configs", [{"n": n} for n in range(6)], [{"n": n} for n in (0, 2, 3, 5)]),
        ("hybrid_override_pattern", "M-M*-M", "MM*M"),
    ],
)
def test_lists_with_an_entry_for_each_layer_are_cut(name: str, value: Any, expected: Any) -> None:
    assert edited({name: value})[name] == expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("mlp_only_layers", [0, 1, 5], [0, 3]),
        ("moe_layers", [0, 1, 2, 3, 4, 5], [0, 1, 2, 3]),
        ("full_attn_idxs", [2, 4], [1]),
        ("cross_attention_layers", [], []),
        ("fullatt_block_indexes", [3, 5], [2, 3]),
        ("deepstack_visual_indexes", [2, 5], [1, 3]),
    ],
)
def test_numbers_of_layers_are_renumbered(name: str, value: list[int], expected: list[int]) -> None:
    assert edited({name: value})[name] == expected


def test_entries_of_blocks_behind_the_layers_stay() -> None:
    assert edited({"layer_types": list("abcdefM"), "moe_layers": [1, 5, 6]}) == {
        "num_hidden_layers": 4,
        "layer_types": list("acdfM"),
        "moe_layers": [3, 4],
    }


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("first_k_dense_replace", 0, 0),
        ("first_k_dense_replace", 1, 1),
        ("first_k_dense_replace", 2, 1),
        ("first_k_dense_replace", 5, 3),
        ("max_window_layers", 6, 4),
        ("max_window_layers", 28, 28),
        ("num_last_full_attention_layers", 2, 1),
        ("moe_layer_start_index", 2, 1),
        ("moe_layer_end_index", 4, 2),
        ("moe_layer_end_index", -1, -1),
        ("num_kv_shared_layers", 0, 0),
    ],
)
def test_fields_that_count_from_an_end_are_shifted(name: str, value: int, expected: int) -> None:
    assert edited({name: value})[name] == expected


def test_overrides_of_single_layers_are_renumbered() -> None:
    config = {"per_layer_config": {"01": {"a": 1}, "05": {"a": 5}, "full_attention": {"a": 9}}}
    assert edited(config)["per_layer_config"] == {"03": {"a": 5}, "full_attention": {"a": 9}}


def test_factor_by_the_number_of_layers_keeps_its_effect() -> None:
    assert edited({"scale_depth": 1.4})["scale_depth"] == pytest.approx(1.4 * (4 / 6) ** 0.5)


@pytest.mark.parametrize(
    ("config", "kept"),
    [
        ({"attn_layer_period": 3, "attn_layer_offset": 1}, (0, 1, 2)),
        ({"attn_layer_period": 3, "attn_layer_offset": 1}, (3, 4, 5)),
        ({"expert_layer_period": 2, "expert_layer_offset": 1}, (0, 1, 4, 5)),
        ({"moe_layer_interval": 1}, (0, 3)),
        ({"decoder_sparse_step": 2}, (2, 3)),
        ({"_sliding_window_pattern": 3, "layer_types": list("abcdef")}, (0, 2)),
        ({"interleave_moe_layer_step": 2, "moe_layers": [1, 3, 5]}, (0, 2)),
        ({"block_types": ["recurrent", "recurrent", "attention"]}, (0, 1, 2)),
    ],
    ids=str,
)
def test_patterns_that_still_hold_stay(config: dict[str, Any], kept: tuple[int, ...]) -> None:
    result = edited(config, kept)
    assert {name: result[name] for name in config if name not in {"layer_types", "moe_layers"}} == {
        name: value for name, value in config.items() if name not in {"layer_types", "moe_layers"}
    }


def test_sparse_steps_that_break_become_a_list() -> None:
    result = edited({"decoder_sparse_step": 2, "mlp_only_layers": [3]}, (0, 1, 3, 4, 5))
    assert (result["decoder_sparse_step"], result["mlp_only_layers"]) == (1, [0, 2, 3])


@pytest.mark.parametrize(
    ("config", "kept", "match"),
    [
        ({"num_kv_shared_layers": 2}, (0, 1), "num_kv_shared_layers 2: the last layers use keys and values"),
        ({"model_type": "zamba2"}, (0, 1), "share blocks of weights"),
        ({"model_type": "diffllama"}, (0, 1), "the number of the layer"),
        ({"scale_attn_by_inverse_layer_idx": True}, (0, 1), "scaled by the number of the layer"),
        ({"attn_layer_period": 3, "attn_layer_offset": 1}, (0, 2, 3), "remove 3 consecutive layers"),
        ({"block_types": ["a", "b"]}, (1, 2), "repeat after 2"),
        ({"sliding_window_pattern": "LLG"}, (0, 2, 3), "repeat after 3"),
        ({"deepstack_visual_indexes": [1, 3]}, (0, 3), "the output of layer 1 is used elsewhere"),
        ({"some_layers": [0, 1, 2, 4, 5]}, (0, 1), "may be numbers of layers"),
        ({"some_layers": [0, 1, 2, 3, 4, 5]}, (0, 1, 5), "which of the two is not known"),
        ({"widths_of_all": [1, 1, 2, 1, 1, 1]}, (0, 1), "as many entries as there are layers"),
        ({"by_layer": {"0": 1, "3": 2}}, (0, 1), "change it by hand"),
        ({"attn": {"kda_layers": [1, 2, 3]}}, (0, 1), "attn.kda_layers"),
        ({"indexer_types": ["full", "shared", "full", "shared", "full", "full"]}, (1, 2), "keep both or neither"),
        ({"num_hidden_layers": 7}, (0, 1), "num_hidden_layers 7: the stack has 6 layers"),
    ],
    ids=str,
)
def test_what_cannot_be_expressed_is_refused(config: dict[str, Any], kept: tuple[int, ...], match: str) -> None:
    with pytest.raises(MismatchError, match=match):
        edited(config, kept)


def test_patterns_may_break_where_a_list_has_each_kind() -> None:
    config = {"attn_layer_period": 3, "layers_block_type": list("abcdef")}
    assert edited(config)["layers_block_type"] == list("acdf")


def test_a_list_alone_counts_layers() -> None:
    config = {"layers_block_type": list("abcd")}
    assert with_layers_removed(config, Removal("backbone.layers", 4, (3,))) == {"layers_block_type": ["d"]}


@pytest.mark.parametrize(
    ("stack", "expected"),
    [
        ("model.encoder.layers", {"encoder_layers": 2, "decoder_layers": 6, "num_hidden_layers": 2}),
        ("model.decoder.layers", {"encoder_layers": 6, "decoder_layers": 2, "num_hidden_layers": 6}),
    ],
)
def test_encoder_and_decoder_have_counts_of_their_own(stack: str, expected: dict[str, int]) -> None:
    config = dict.fromkeys(expected, 6)
    assert with_layers_removed(config, Removal(stack, 6, (0, 1))) == expected


def test_only_the_part_of_the_stack_changes() -> None:
    config = {
        "text_config": {"num_hidden_layers": 4, "layer_types": list("abcd")},
        "vision_config": {"num_hidden_layers": 4, "layer_types": list("efgh")},
    }
    result = with_layers_removed(config, Removal("language_model.model.layers", 4, (1, 2)))
    assert result["text_config"] == {"num_hidden_layers": 2, "layer_types": ["b", "c"]}
    assert result["vision_config"] == config["vision_config"]


@pytest.mark.parametrize(
    ("kept", "value", "expected"),
    [((0, 1, 2), -2, -1), ((0, 1, 3), -2, -2), ((1, 2, 3), -2, -2), ((0, 3), [1, -1, 4], [1, -1, 2])],
)
def test_hidden_states_of_a_tower_are_shifted(kept: tuple[int, ...], value: Any, expected: Any) -> None:
    config = {"vision_config": {"num_hidden_layers": 4}, "text_config": {}, "vision_feature_layer": value}
    result = with_layers_removed(config, Removal("vision_tower.encoder.layers", 4, kept))
    assert result["vision_feature_layer"] == expected


def test_stages_of_a_backbone_are_shifted() -> None:
    stages = ["stem", "stage1", "stage2", "stage3", "stage4", "stage5", "stage6"]
    result = edited({"stage_names": stages, "out_indices": [2, 6], "out_features": ["stage2", "stage6"]})
    assert result["stage_names"] == stages[:5]
    assert (result["out_indices"], result["out_features"]) == ([1, 4], ["stage1", "stage4"])


def test_layers_behind_which_images_are_added_stay() -> None:
    config = {"text_config": {"num_hidden_layers": 6}, "vision_config": {"deepstack_visual_indexes": [5, 11]}}
    removal = Removal("model.language_model.layers", 6, (0, 2, 3, 4, 5))
    with pytest.raises(MismatchError, match="behind the first 2 layers"):
        with_layers_removed(config, removal)


def test_names_of_modules_that_are_not_quantized_are_renumbered() -> None:
    ignored = ["lm_head", "model.layers.1.mlp.gate", "model.layers.5.mlp.gate", "layers.2", "visual.layers.5.qkv"]
    config = {"quantization_config": {"modules_to_not_convert": ignored}}
    assert edited(config)["quantization_config"]["modules_to_not_convert"] == [
        "lm_head",
        "model.layers.3.mlp.gate",
        "layers.1",
        "visual.layers.5.qkv",
    ]


def test_regular_expressions_over_layers_are_refused() -> None:
    config = {"quantization_config": {"ignore": [r"re:.*layers\.5\.mlp"]}}
    with pytest.raises(MismatchError, match="regular expression"):
        edited(config)


def test_the_config_that_was_given_stays() -> None:
    config = {"num_hidden_layers": 3, "layer_types": ["a", "b", "c"]}
    with_layers_removed(config, Removal("layers", 3, (0,)))
    assert config == {"num_hidden_layers": 3, "layer_types": ["a", "b", "c"]}
