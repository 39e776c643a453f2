"""What built-in maps make of blocks that have more than their weights."""

from collections.abc import Mapping

import pytest
import torch

from pruning_engine.errors import MismatchError
from pruning_engine.recipe import Count, Scope
from tests.engine.tied import Tensors, prune_with, units


def tensors(prefix: str, **shapes: tuple[int, ...]) -> Tensors:
    """Return random tensors of a block; `__` in a keyword stands for a dot."""
    named = {f"{prefix}.{name.replace('__', '.')}": shape for name, shape in shapes.items()}
    return {name: torch.randn(shape) for name, shape in named.items()}


def shape(state_dict: Mapping[str, object], name: str) -> tuple[int, ...]:
    tensor = state_dict[name.replace("__", ".")]
    assert isinstance(tensor, torch.Tensor)
    return tuple(tensor.shape)


def mlp(prefix: str, width: int) -> Tensors:
    return tensors(prefix, gate_proj__weight=(width, 6), up_proj__weight=(width, 6), down_proj__weight=(6, width))


def attention(**more: tuple[int, ...]) -> Tensors:
    """Return 2 key and value heads of 3 entries, with 2 query heads each, and what there is beside them."""
    projections = {"q_proj__weight": (12, 5), "k_proj__weight": (6, 5), "v_proj__weight": (6, 5)}
    return tensors("attn", **projections, o_proj__weight=(5, 12), **more)


@pytest.mark.parametrize(
    ("prefix", "field"),
    [
        ("layers.0.mlp", "intermediate_size"),
        ("layers.0.mlp.experts.3", "moe_intermediate_size"),
        ("layers.0.mlp.shared_expert", "shared_expert_intermediate_size"),
        ("layers.0.mlp.shared_experts", "shared_expert_intermediate_size"),
    ],
)
def test_each_kind_of_mlp_has_its_field(prefix: str, field: str) -> None:
    (found,) = prune_with(mlp(prefix, 8), units(map="llama_mlp")).report.groups
    assert found.config == {field: 4}


def test_only_blocks_of_one_size_share_a_width() -> None:
    state_dict = mlp("text.mlp", 8) | mlp("vision.mlp", 20)
    found = prune_with(state_dict, units(map="llama_mlp")).report.groups
    assert [len(group.kept) for group in found] == [4, 10]


def test_stacked_experts_lose_the_same_units() -> None:
    state_dict = tensors("mlp.experts", gate_up_proj=(3, 6, 16), down_proj=(3, 8, 6))
    state_dict["mlp.experts.gate_up_proj"][:, :, [1, 9]] = 0
    state_dict["mlp.experts.down_proj"][:, 1] = 0
    small = prune_with(state_dict, units(map="llama_mlp", amount=Count(1)), output="removed")
    assert small.report.groups[0].kept == (0, 2, 3, 4, 5, 6, 7)
    assert shape(small.state_dict, "mlp.experts.gate_up_proj") == (3, 6, 14)


@pytest.mark.parametrize(
    ("name", "size", "left"),
    [("sinks", (4,), (2,)), ("q_norm__weight", (4, 3), (2, 3)), ("k_norm__weight", (2, 3), (1, 3))],
)
def test_what_there_is_per_head_is_coupled(name: str, size: tuple[int, ...], left: tuple[int, ...]) -> None:
    rule = units(map="llama_kv_groups", head_dim=3, scope=Scope.GLOBAL)
    small = prune_with(attention(**{name: size}), rule, output="removed")
    assert shape(small.state_dict, f"attn.{name}") == left


def test_norm_of_a_head_says_its_size() -> None:
    state_dict = attention(q_norm__weight=(3,), k_norm__weight=(3,))
    (found,) = prune_with(state_dict, units(map="llama_kv_groups", head_dim=1)).report.groups
    assert found.units == 2


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"q_norm__weight": (12,), "k_norm__weight": (6,)}, id="norm over all heads"),
        pytest.param({"sub_norm__weight": (12,)}, id="norm before the output"),
        pytest.param({f"norms__{at}__weight": (3,) for at in range(4)}, id="a norm for each head"),
        pytest.param({"slopes": (4,)}, id="a number for each head"),
    ],
)
def test_attention_with_more_over_heads_is_refused(more: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(MismatchError, match="the map does not couple it"):
        prune_with(attention(**more), units(map="llama_kv_groups", head_dim=3))


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"o_proj__bias": (5,)}, id="bias of the output"),
        pytest.param({"rotary_emb__inv_freq": (2,)}, id="constants of a rotary embedding"),
        pytest.param({"q_norm__weight": (3,), "k_norm__weight": (3,)}, id="norm of one head"),
    ],
)
def test_what_all_heads_share_stays(more: dict[str, tuple[int, ...]]) -> None:
    small = prune_with(attention(**more), units(map="llama_kv_groups", head_dim=3), output="removed")
    assert {name: shape(small.state_dict, f"attn.{name}") for name in more} == more


def test_norm_over_inner_units_is_refused() -> None:
    with pytest.raises(MismatchError, match=r"'mlp\.sub_norm\.weight' of shape \[8\], which normalizes over"):
        prune_with(mlp("mlp", 8) | tensors("mlp", sub_norm__weight=(8,)), units(map="llama_mlp"))
