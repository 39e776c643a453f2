"""Which value of a config.json counts the units of a group."""

from typing import Any

import pytest

from pruning_client.errors import MismatchError
from pruning_client.huggingface.config_fields import Place, new_values
from pruning_client.results.report import GroupReport

MLP = "model.layers.1.mlp"
EXPERT = "model.layers.1.mlp.experts.3"


def group(name: str, units: int, **config: int) -> GroupReport:
    """Return a group of which half is left; `config` has what one unit counts for."""
    kept = tuple(range(units // 2))
    counted = {field: each * len(kept) for field, each in config.items()}
    return GroupReport(rule=0, name=name, units=units, kept=kept, tensors=(f"{name}.weight",), config=counted)


def values(config: dict[str, Any], found: GroupReport, head_dim: int = 0) -> dict[Place, float]:
    return new_values(config, found, head_dim, is_mapped=True)


DENSE = {"intermediate_size": 1}
ROUTED = {"moe_intermediate_size": 1}
SHARED = {"shared_expert_intermediate_size": 1}
HEADS = {"num_key_value_heads": 1, "num_attention_heads": 2}
WIDTH = {"intermediate_size": 8}
BOTH = {"text_config": WIDTH, "vision_config": WIDTH}


@pytest.mark.parametrize(
    ("config", "name", "counted", "place"),
    [
        pytest.param(WIDTH, MLP, DENSE, ("intermediate_size",), id="dense"),
        pytest.param({"ffn_dim": 8}, MLP, DENSE, ("ffn_dim",), id="another name"),
        pytest.param({**WIDTH, "intermediate_size_mlp": 8}, MLP, DENSE, ("intermediate_size_mlp",), id="llama4 dense"),
        pytest.param({**WIDTH, "moe_intermediate_size": 8}, EXPERT, ROUTED, ("moe_intermediate_size",), id="routed"),
        pytest.param(WIDTH, EXPERT, ROUTED, ("intermediate_size",), id="all experts"),
        pytest.param({"intermediate_size": [4, 8]}, MLP, DENSE, ("intermediate_size", 1), id="a list of layers"),
        pytest.param(BOTH, "language_model." + MLP, DENSE, ("text_config", "intermediate_size"), id="text by name"),
        pytest.param(BOTH, MLP, DENSE, ("text_config", "intermediate_size"), id="text"),
        pytest.param(BOTH, "visual.blocks.0.mlp", DENSE, ("vision_config", "intermediate_size"), id="vision"),
        pytest.param(
            {**WIDTH, "vision_config": WIDTH},
            "vision_tower.layers.0.mlp",
            DENSE,
            ("vision_config", "intermediate_size"),
            id="vision beside text at the top",
        ),
        pytest.param(
            {"encoder": WIDTH, "decoder": WIDTH},
            "decoder.encoder.layer.0",
            DENSE,
            ("decoder", "intermediate_size"),
            id="the outer of two names",
        ),
        pytest.param(
            {"encoder_ffn_dim": 8, "decoder_ffn_dim": 8},
            "model.decoder.layers.0",
            DENSE,
            ("decoder_ffn_dim",),
            id="one of two stacks",
        ),
        pytest.param(
            {**WIDTH, "per_layer_config": {"1": WIDTH}},
            MLP,
            DENSE,
            ("per_layer_config", "1", "intermediate_size"),
            id="a layer's own",
        ),
        pytest.param(
            {**WIDTH, "layer_types": ["full", "sparse"], "per_layer_config": {"sparse": WIDTH}},
            MLP,
            DENSE,
            ("per_layer_config", "sparse", "intermediate_size"),
            id="of a type of layers",
        ),
    ],
)
def test_field_that_counts_units(config: dict[str, Any], name: str, counted: dict[str, int], place: Place) -> None:
    assert values(config, group(name, 8, **counted)) == {place: 4}


def test_shared_experts_are_counted_in_routed_ones() -> None:
    config = {"moe_intermediate_size": 8, "n_shared_experts": 2}
    assert values(config, group("mlp.shared_experts", 16, **SHARED)) == {("moe_intermediate_size",): 4}


def test_odd_width_of_shared_experts_is_refused() -> None:
    config = {"moe_intermediate_size": 3, "n_shared_experts": 2}
    with pytest.raises(MismatchError, match="in steps of 2; keep a multiple of 2"):
        values(config, group("mlp.shared_experts", 6, **SHARED))


def test_both_names_of_the_experts_are_set() -> None:
    config = {"num_experts": 8, "num_local_experts": 8}
    assert values(config, group(MLP, 8, num_experts=1)) == {("num_experts",): 4, ("num_local_experts",): 4}


@pytest.mark.parametrize("config", [{}, {"head_dim": None}], ids=["absent", "null"])
def test_size_of_heads_is_written_beside_their_number(config: dict[str, Any]) -> None:
    part = {"hidden_size": 16, "num_attention_heads": 4, **config}
    found = values({"text_config": part}, group("model.layers.0.self_attn", 2, **HEADS), head_dim=4)
    assert found["text_config", "head_dim"] == 4
    assert found["text_config", "num_key_value_heads"] == 1


def test_size_of_heads_that_is_there_stays() -> None:
    config = {"hidden_size": 16, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    found = values(config, group("model.layers.0.self_attn", 2, **HEADS), head_dim=8)
    assert found == {("num_attention_heads",): 2, ("num_key_value_heads",): 1}


def test_field_that_counts_something_else_is_refused() -> None:
    with pytest.raises(MismatchError, match="has intermediate_size 8, and the group has 6 to count"):
        values(WIDTH, group(MLP, 6, **DENSE))


def test_part_without_the_field_is_not_passed_over() -> None:
    config = {"text_config": WIDTH, "vision_config": {"mlp_ratio": 2}}
    with pytest.raises(MismatchError, match="has no field intermediate_size"):
        values(config, group("visual.blocks.0.mlp", 8, **DENSE))


def test_names_of_ones_own_groups_are_taken_as_they_are() -> None:
    with pytest.raises(MismatchError, match="has no field intermediate_size"):
        new_values({"ffn_dim": 8}, group(MLP, 8, **DENSE), 0, is_mapped=False)
