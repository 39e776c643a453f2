"""Which tensors of a mixture of experts the map couples, by names and shapes on disk."""

from collections.abc import Mapping

import pytest

from pruning_engine.errors import MismatchError
from pruning_engine.granularities.maps.blocks import Shape
from pruning_engine.granularities.maps.experts.experts_map import experts, experts_of_layers, experts_of_mtp
from pruning_engine.granularities.maps.found import Found

E, H, I = 6, 16, 8  # noqa: E741 - experts, hidden and inner width
PATH = "rules[0].granularity.units"
QWEN = {"gate_proj.weight": (I, H), "up_proj.weight": (I, H), "down_proj.weight": (H, I)}


def under(prefix: str, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    return {f"{prefix}.{name}": shape for name, shape in shapes.items()}


def numbered(prefix: str, each: Mapping[str, Shape] = QWEN, count: int = E) -> dict[str, Shape]:
    """Return one tensor per expert, and a router."""
    tensors = {f"experts.{at}.{tail}": shape for at in range(count) for tail, shape in each.items()}
    return under(prefix, {**tensors, "gate.weight": (count, H)})


def found(shapes: Mapping[str, Shape]) -> list[Found]:
    return list(experts(shapes, None, PATH))


def dims(one: Found) -> dict[str, int]:
    """Return the dim along experts of each tensor that is coupled."""
    return {tie.tensor: tie.dim for tie in one.group.ties}


def test_numbered_experts_own_whole_tensors() -> None:
    (one,) = found(numbered("model.layers.3.mlp"))
    assert (one.name, one.group.units, one.routers) == ("model.layers.3.mlp", E, ("gate.weight",))
    assert dims(one).keys() == {f"experts.{{unit}}.{tail}" for tail in QWEN} | {"gate.weight"}


@pytest.mark.parametrize(
    ("more", "dim"),
    [
        ({"gate.bias": (E,)}, 0),
        ({"gate.e_score_correction_bias": (E,)}, 0),
        ({"e_score_correction_bias": (E,)}, 0),
        ({"expert_bias": (E,)}, 0),
        ({"experts.e_score_correction_bias": (E,)}, 0),
        ({"moe_statics.e_score_correction_bias": (1, E)}, 1),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_corrections_of_the_router_are_coupled(more: dict[str, Shape], dim: int) -> None:
    (one,) = found(numbered("mlp") | under("mlp", more))
    assert dims(one)[next(iter(more))] == dim


@pytest.mark.parametrize(
    "router", ["gate.weight", "router.weight", "router.layer.weight", "gate.wg.weight", "router.gate.weight"]
)
def test_routers_are_known_by_their_names(router: str) -> None:
    shapes = {name: shape for name, shape in numbered("mlp").items() if name != "mlp.gate.weight"}
    (one,) = found(shapes | under("mlp", {router: (E, H)}))
    assert one.routers == (router,)


def test_shared_experts_stay() -> None:
    shared = under("shared_experts", {"gate_proj.weight": (E, H), "down_proj.weight": (H, E)})
    (one,) = found(numbered("mlp") | under("mlp", {**shared, "shared_expert_gate.weight": (1, H)}))
    assert not [tail for tail in dims(one) if "shared" in tail]


STACKED: dict[str, dict[str, Shape]] = {
    "gpt-oss": {
        "router.weight": (E, H),
        "router.bias": (E,),
        "experts.gate_up_proj": (E, H, 2 * I),
        "experts.gate_up_proj_bias": (E, 2 * I),
        "experts.down_proj": (E, I, H),
        "experts.down_proj_bias": (E, H),
    },
    "gpt-oss-mxfp4": {
        "router.weight": (E, H),
        "router.bias": (E,),
        "experts.gate_up_proj_blocks": (E, 2 * I, 1, 16),
        "experts.gate_up_proj_scales": (E, 2 * I, 1),
        "experts.gate_up_proj_bias": (E, 2 * I),
        "experts.down_proj_blocks": (E, H, 1, 16),
        "experts.down_proj_scales": (E, H, 1),
        "experts.down_proj_bias": (E, H),
    },
    "llama4": {"router.weight": (E, H), "experts.gate_up_proj": (E, H, 2 * I), "experts.down_proj": (E, I, H)},
    "granite": {
        "router.layer.weight": (E, H),
        "input_linear.weight": (E, 2 * I, H),
        "output_linear.weight": (E, H, I),
    },
    "step": {
        "gate.weight": (E, H),
        "router_bias": (E,),
        "gate_proj.weight": (E, I, H),
        "up_proj.weight": (E, I, H),
        "down_proj.weight": (E, H, I),
    },
    "fp8": {
        "gate.weight": (E, H),
        "experts.gate_up_proj": (E, 2 * I, H),
        "experts.gate_up_proj_scale_inv": (E, 1, 1),
        "experts.down_proj": (E, H, I),
        "experts.down_proj_scale_inv": (E, 1, 1),
    },
}


@pytest.mark.parametrize("layout", STACKED)
def test_stacked_experts_are_along_dim_0(layout: str) -> None:
    (one,) = found(under("model.layers.0.moe", STACKED[layout]))
    assert (one.group.units, dims(one)) == (E, dict.fromkeys(STACKED[layout], 0))


def test_matrices_of_experts_below_each_other() -> None:
    shapes = {"router.layer.weight": (E, H), "experts.mlp.w1": (E * I, H), "experts.mlp.w2": (E * I, H)}
    (one,) = found(under("ffn", shapes))
    assert {tie.tensor: tie.inner for tie in one.group.ties} == {
        "experts.mlp.w1": I,
        "experts.mlp.w2": I,
        "router.layer.weight": 1,
    }


def test_only_weights_count_in_the_norm_of_an_expert() -> None:
    scaled = {"w1.weight": (I, H), "w1.weight_scale_inv": (1, 1), "w1.input_scale": (), "w1.bias": (I,)}
    (one,) = found(numbered("mlp", scaled))
    assert [tie.tensor for tie in one.group.ties if tie.scored is None] == ["experts.{unit}.w1.weight"]


def test_attention_experts_are_a_block_of_their_own() -> None:
    attention = under("layers.0.self_attention.experts", {**STACKED["granite"], "bias": (H,)})
    names = [one.name for one in found(attention | under("layers.0.mlp", STACKED["granite"]))]
    assert names == ["layers.0.mlp", "layers.0.self_attention.experts"]


def test_router_beside_experts_in_the_layer() -> None:
    layer = {
        "experts.gate_up_proj": (E, 2 * I, H),
        "experts.down_proj": (E, H, I),
        "router.proj.weight": (E, H),
        "router.per_expert_scale": (E,),
        "router.scale": (H,),
        "self_attn.q_norm.weight": (E,),
    }
    (one,) = found(under("layers.0", layer))
    assert dims(one).keys() == set(layer) - {"router.scale", "self_attn.q_norm.weight"}


def test_correction_beside_the_block_is_coupled() -> None:
    (one,) = found(numbered("layers.2.mlp") | {"layers.2.moe.router.expert_bias": (E,)})
    assert (one.name, one.prefix) == ("layers.2.mlp", "layers.2")
    assert {"moe.router.expert_bias", "mlp.gate.weight"} < dims(one).keys()


def test_experts_without_weights_keep_their_rows() -> None:
    shapes = {name: shape for name, shape in numbered("mlp").items() if name != "mlp.gate.weight"}
    shapes |= {"mlp.experts.6.up_proj.weight": (I, H), "mlp.router.classifier.weight": (E + 2, H)}
    (one,) = found(shapes | {"mlp.router.e_score_correction_bias": (E + 2,)})
    assert one.group.units == E
    assert {"router.classifier.weight", "router.e_score_correction_bias"} < dims(one).keys()


def test_rows_of_shared_experts_stay_in_the_router() -> None:
    shapes = under("mlp", STACKED["llama4"] | {"gate.weight": (E + 2, H), "gate.e_score_correction_bias": (E,)})
    shapes = {name: shape for name, shape in shapes.items() if "router" not in name}
    shapes |= under("mlp.shared_experts", {"up_proj": (2, I, H), "down_proj": (2, H, I)})
    (one,) = found(shapes)
    assert (one.group.units, one.routers) == (E, ("gate.weight",))
    assert {"gate.weight", "gate.e_score_correction_bias"} < dims(one).keys()


def test_experts_that_are_found_by_product_keys_are_refused() -> None:
    tables = {"down_embed.weight": (16, H), "up_embed.weight": (16, H), "router_gate.weight": (8, H)}
    with pytest.raises(MismatchError, match=r"experts of one row each \(Doge\).*or remove layers"):
        found(under("model.layers.0.mlp", tables))


MTP = {**numbered("model.layers.0.mlp"), **numbered("model.layers.1.mlp"), "model.layers.1.eh_proj.weight": (H, 2 * H)}


@pytest.mark.parametrize(
    ("find", "names"),
    [
        (experts, ["model.layers.0.mlp", "model.layers.1.mlp", "mtp.layers.0.mlp"]),
        (experts_of_layers, ["model.layers.0.mlp"]),
        (experts_of_mtp, ["model.layers.1.mlp", "mtp.layers.0.mlp"]),
    ],
    ids=["all", "layers", "mtp"],
)
def test_prediction_layers_are_chosen_by_the_map(find, names: list[str]) -> None:  # type: ignore[no-untyped-def]
    assert [one.name for one in find(MTP | numbered("mtp.layers.0.mlp"), None, PATH)] == names


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({"gate.tid2eid": (50, 2)}, "'mlp'.*gate.tid2eid are numbers of experts"),
        ({"thresholds": (E,)}, r"thresholds of shape \[6\] has the size of the 6 experts"),
        (
            {"gate.weight": (E + 2, H), "thresholds": (E,)}
            | under("shared_experts", {"up_proj": (2, I, H), "down_proj": (2, H, I)}),
            r"thresholds of shape \[6\] has the size of the 6 experts",
        ),
        ({"gate.weight": (E + 2, H)}, "tensors of 6 experts and a router of 8 rows.* all files together"),
        ({"gate.weight": (E, H), "router.weight": (E, H)}, "gate.weight and router.weight may be its router"),
        ({"experts.7.up_proj.weight": (I, H)}, "expert 7 and none of expert 6"),
        ({"experts.6.extra.weight": (I, H)}, "experts 0 and 6 have different tensors: '.*weight'"),
        ({"vision_experts.0.w1.weight": (I, H)}, "it has two lists, 'mlp.experts' and 'mlp.vision_experts'"),
    ],
    ids=["hash", "unknown", "unknown beside shared", "rows", "routers", "gap", "unlike", "lists"],
)
def test_blocks_that_are_not_understood_are_refused(changed: dict[str, Shape], wrong: str) -> None:
    with pytest.raises(MismatchError, match=wrong):
        found(numbered("mlp") | under("mlp", changed))


def test_stacks_of_unlike_numbers_are_refused() -> None:
    with pytest.raises(MismatchError, match=r"has 6 along dim 0 and 'experts\.down_proj' has 5"):
        found(under("mlp", STACKED["llama4"] | {"experts.down_proj": (5, I, H)}))


def test_experts_without_a_router_are_refused() -> None:
    shapes = {name: shape for name, shape in numbered("mlp").items() if "gate.weight" not in name}
    with pytest.raises(MismatchError, match="'mlp' cannot be removed: it has no router with 6 rows"):
        found(shapes)
