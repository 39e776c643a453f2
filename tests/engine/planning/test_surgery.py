"""What is left out before any data, from names and shapes alone."""

import pytest
import torch

from pruning_engine import MismatchError, RecipeError
from pruning_engine.granularities.channel_groups import ChannelSlice
from pruning_engine.recipe import Count, ImportanceScores, Kept, ListedUnits, Random, Rule, Selector, UnitList
from tests.engine.tied import Tensors, group, prune_with, units


def stack(layers: int, **others: torch.Tensor) -> Tensors:
    """Return layers of two tensors, each of its own numbers."""
    found = {}
    for layer in range(layers):
        found[f"layers.{layer}.attn.weight"] = torch.full((2, 2), float(layer))
        found[f"layers.{layer}.mlp.weight"] = torch.full((2, 2), float(layer))
    return found | others


def drop(*numbers: int, tie: str = "layers.{unit}.*", units_: int | None = None, keeps: bool = False) -> Rule:
    """Return a rule that drops layers."""
    asked = group(ChannelSlice(tie), units=units_)
    if keeps:
        asked = type(asked)(ties=asked.ties, units=units_, keep_numbers=True)
    return units(asked, amount=None, score=ListedUnits(UnitList(pruned=numbers)))


def removed(tensors: Tensors, *rules: Rule) -> dict[str, float]:
    """Return the first number of each tensor that is left."""
    found = prune_with(tensors, *rules, output="removed").state_dict
    return {name: float(tensor.reshape(-1)[0]) for name, tensor in found.items()}  # type: ignore[attr-defined]


def test_layers_are_renumbered() -> None:
    found = removed(stack(4), drop(1, 2))
    assert found["layers.1.attn.weight"] == 3.0
    assert len(found) == 4


def test_numbers_may_be_kept() -> None:
    assert "layers.3.attn.weight" in removed(stack(4), drop(1, 2, keeps=True))


def test_larger_numbers_than_the_units_are_lowered() -> None:
    assert removed(stack(4), drop(1, units_=3))["layers.2.mlp.weight"] == 3.0


def test_a_part_of_a_layer_is_left_out_with_its_number_kept() -> None:
    found = removed(stack(3), drop(1, tie="layers.{unit}.attn.*", keeps=True))
    assert "layers.1.attn.weight" not in found
    assert found["layers.1.mlp.weight"] == 1.0


def test_two_rules_on_one_stack_add_up() -> None:
    rules = [drop(2), drop(0, tie="layers.{unit}.attn.*", keeps=True)]
    found = removed(stack(4), *rules)
    assert found["layers.2.attn.weight"] == 3.0
    assert "layers.0.attn.weight" not in found


def test_ten_or_more_are_renumbered_by_value() -> None:
    found = removed(stack(12), drop(3))
    assert found["layers.9.mlp.weight"] == 10.0
    assert found["layers.10.mlp.weight"] == 11.0


def test_other_names_stay() -> None:
    found = removed(stack(2, norm=torch.ones(2)) | {"layers.norm.weight": torch.ones(2)}, drop(0))
    assert {"norm", "layers.norm.weight", "layers.0.attn.weight", "layers.0.mlp.weight"} == found.keys()


def test_random_units_are_known_by_the_seed() -> None:
    rule = units(group(ChannelSlice("layers.{unit}.*")), amount=Kept(2), score=Random())
    assert len(removed(stack(4), rule)) == 4


def test_masked_pairs_go_with_their_unit() -> None:
    tensors = stack(2) | {"layers.0.w_orig": torch.ones(2, 2), "layers.0.w_mask": torch.ones(2, 2)}
    tensors |= {"layers.1.w_orig": torch.ones(2, 2), "layers.1.w_mask": torch.zeros(2, 2)}
    assert removed(tensors, drop(0))["layers.0.w"] == 0.0


def test_slices_along_other_dims_follow_the_list() -> None:
    tensors = stack(3) | {"mix.weight": torch.arange(6.0).reshape(2, 3)}
    asked = group(ChannelSlice("layers.{unit}.*"), ChannelSlice("mix.weight", dim=1))
    rule = units(asked, amount=None, score=ListedUnits(UnitList(kept=(0, 2))))
    found = prune_with(tensors, rule, output="removed").state_dict
    assert torch.equal(found["mix.weight"], torch.tensor([[0.0, 2], [3, 5]]))  # type: ignore[arg-type]


def test_fp8_scales_of_rows_are_cut_with_them() -> None:
    tensors = {
        "w": torch.ones(4, 8).to(torch.float8_e4m3fn),
        "w_scale_inv": torch.tensor([[1.0], [2.0]]),
    }
    rule = units(group(ChannelSlice("w", inner=2)), amount=None, score=ListedUnits(UnitList(kept=(1,))))
    found = prune_with(tensors, rule, output="removed").state_dict
    assert found["w_scale_inv"].tolist() == [[2.0]]  # type: ignore[attr-defined]


def test_rows_of_any_dtype_are_left_out() -> None:
    tensors = {"blocks": torch.tensor([[True, False], [False, True]])}
    rule = units(group(ChannelSlice("blocks")), amount=None, score=ListedUnits(UnitList(kept=(1,))))
    assert prune_with(tensors, rule, output="removed").state_dict["blocks"].tolist() == [[False, True]]  # type: ignore[attr-defined]


def test_two_rules_cannot_cut_one_tensor() -> None:
    rule = units(group("w:0"), amount=None, score=ListedUnits(UnitList(pruned=(0,))))
    with pytest.raises(MismatchError, match="put both into one rule"):
        prune_with({"w": torch.ones(3, 2)}, rule, rule, output="removed")


def test_tied_layers_are_refused() -> None:
    tensors = stack(2)
    tensors["layers.1.mlp.weight"] = tensors["layers.0.mlp.weight"]
    with pytest.raises(MismatchError, match="a tensor of its own"):
        prune_with(tensors, drop(0), output="removed")


def test_listed_layers_cannot_be_zeroed() -> None:
    with pytest.raises((RecipeError, MismatchError)):
        prune_with(stack(2), drop(0), output="pruned")


def test_units_along_cut_rows_are_refused() -> None:
    cut = units(group("w:0"), amount=None, score=ListedUnits(UnitList(pruned=(0,))))
    ranked = units(group("w:0"), amount=Kept(1))
    with pytest.raises(MismatchError, match="other numbers"):
        prune_with({"w": torch.ones(3, 2)}, cut, ranked, output="removed")


def test_auxiliary_tensors_go_with_their_unit() -> None:
    scores = {f"layers.{layer}.mlp.weight:scores": torch.arange(4.0).reshape(2, 2) for layer in range(2)}
    ranked = Rule(score=ImportanceScores(), amount=Count(1), select=Selector(("layers.1.mlp.weight",)))
    found = prune_with(stack(2) | scores, drop(0), ranked, output="removed").state_dict
    assert found["layers.0.mlp.weight"].tolist() == [[0.0, 1.0], [1.0, 1.0]]  # type: ignore[attr-defined]
