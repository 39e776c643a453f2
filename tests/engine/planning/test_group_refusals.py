"""What is refused of tied channels: each refusal names its reason, the field at fault and the tensor."""

import pytest
import torch

from pruning_engine import CheckpointError, MismatchError, PruningError, Reason, RecipeError, prune_state_dict
from pruning_engine.recipe import (
    ChannelGroup,
    Channels,
    ChannelSlice,
    Count,
    CustomMask,
    Dead,
    Fraction,
    ImportanceScores,
    Magnitude,
    NamedNorm,
    Recipe,
    Rule,
    Scope,
    Selector,
    Units,
)
from tests.engine.rules import l1, recipe
from tests.engine.tied import MLP, Tensors, group, mlp, prune_with, units

UNITS = "rules[0].granularity.units"


def refusal(state_dict: Tensors, *rules: Rule) -> PruningError:
    with pytest.raises(PruningError) as caught:
        prune_with(state_dict, *rules)
    return caught.value


def rule(**fields: object) -> Rule:
    given = {"score": Magnitude(), "amount": Fraction(0.5), "granularity": Units(groups=(MLP,))} | fields
    return Rule(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (units(), f"{UNITS}.groups"),
        (units(MLP, round_to=0), f"{UNITS}.round_to"),
        (units(MLP, head_dim=4), f"{UNITS}.head_dim"),
        (units(map="llama_kv_groups"), f"{UNITS}.head_dim"),
        (units(ChannelGroup(ties=())), f"{UNITS}.groups[0].ties"),
        (units(group("a:0", units=0)), f"{UNITS}.groups[0].units"),
        (units(group("a:0", width=0)), f'{UNITS}.groups[0].config["width"]'),
        (units(group("a:0", width=2**32)), f'{UNITS}.groups[0].config["width"]'),
        (units(MLP, group(ChannelSlice(""))), f"{UNITS}.groups[1].ties[0].tensor"),
        (units(group(ChannelSlice("a", offset=-1))), f"{UNITS}.groups[0].ties[0].offset"),
        (units(group(ChannelSlice("a", outer=0))), f"{UNITS}.groups[0].ties[0].outer"),
        (units(group(ChannelSlice("a"), ChannelSlice("b", inner=0))), f"{UNITS}.groups[0].ties[1].inner"),
        (units(group(ChannelSlice("a", offset=1, indices=(0,)))), f"{UNITS}.groups[0].ties[0].indices"),
        (units(group(ChannelSlice("n.running_var", scored=True))), f"{UNITS}.groups[0].ties[0].scored"),
        (rule(select=Selector(("a",))), "rules[0].select"),
        (rule(amount=None), "rules[0].amount"),
        (rule(score=Dead()), "rules[0].amount"),
        (rule(score=Dead(), amount=None, scope=Scope.GLOBAL), "rules[0].scope"),
        (rule(score=Dead(), amount=None, granularity=Channels(0)), "rules[0].granularity"),
        (rule(score=CustomMask(), amount=None), "rules[0].granularity"),
    ],
)
def test_rule_that_is_invalid_for_every_checkpoint(asked: Rule, field: str) -> None:
    error = refusal(mlp(1, 2), asked)
    assert isinstance(error, RecipeError)
    assert (error.reason, error.field) == (Reason.INVALID_RECIPE, field)


@pytest.mark.parametrize("pattern", ["layers..mlp", "layers.", ".mlp", "."])
def test_a_pattern_with_an_empty_segment(pattern: str) -> None:
    error = refusal(mlp(1, 2), units(group("a:0", for_each=pattern)))
    assert (error.reason, error.field) == (Reason.INVALID_PATTERN, f"{UNITS}.groups[0].for_each")


def test_the_nuclear_norm() -> None:
    assert refusal(mlp(1, 2), units(MLP, score=Magnitude(NamedNorm.NUC))).reason is Reason.INVALID_NORM


def test_a_map_that_is_not_there() -> None:
    error = refusal(mlp(1, 2), units(map="llama"))
    assert isinstance(error, RecipeError)
    assert (error.reason, error.field) == (Reason.UNKNOWN_MAP, f"{UNITS}.map")
    assert "llama_mlp" in str(error)


def test_a_map_that_fits_nothing() -> None:
    error = refusal(mlp(1, 2), units(map="bert_ffn"))
    assert (error.reason, error.field) == (Reason.SELECTS_NOTHING, f"{UNITS}.map")


def test_a_pattern_that_matches_nothing() -> None:
    error = refusal(mlp(1, 2, name="layers.0.mlp"), units(group("up.weight:0", for_each="model.layers.*.mlp")))
    assert (error.reason, error.field) == (Reason.SELECTS_NOTHING, f"{UNITS}.groups[0].for_each")


def test_a_tie_that_is_missing() -> None:
    error = refusal(mlp(1, 2, name="a"), units(group("up.weight:0", "gate.weight:0", for_each="*")))
    assert isinstance(error, MismatchError)
    assert (error.reason, error.field, error.tensor) == (
        Reason.TIE_MISSING,
        f"{UNITS}.groups[0].ties[1]",
        "a.gate.weight",
    )


def test_a_tie_that_may_be_missing_is_passed_over() -> None:
    prune_with(mlp(1, 2), units(group("up.weight:0", ChannelSlice("up.gain", may_be_missing=True), "down.weight:1")))


def test_a_group_of_which_nothing_is_there() -> None:
    assert refusal(mlp(1, 2), units(group(ChannelSlice("a", may_be_missing=True)))).reason is Reason.TIE_MISSING


@pytest.mark.parametrize(
    ("tie", "words"),
    [
        (ChannelSlice("down.weight", 2), "has no dim 2"),
        (ChannelSlice("down.weight", -3), "has no dim -3"),
        (ChannelSlice("down.weight", 0), "has 2 positions"),
        (ChannelSlice("down.weight", 1, inner=2), "4 units of 2 need 8"),
        (ChannelSlice("down.weight", 1, offset=1), "4 units of 1 from 1 need 5"),
        (ChannelSlice("down.weight", 1, indices=(0, 1, 2)), "need 4 indices, and it gives 3"),
        (ChannelSlice("down.weight", 1, indices=(0, 1, 2, 4)), "go up to 4"),
        (ChannelSlice("down.weight", 1, indices=(0, 1, 2, 2)), "stands twice"),
    ],
    ids=["dim", "negative dim", "another dim", "inner", "offset", "few indices", "large index", "same index"],
)
def test_a_tie_that_does_not_fit(tie: ChannelSlice, words: str) -> None:
    error = refusal(mlp(1, 2, 3, 4), units(group("up.weight:0", tie)))
    assert (error.reason, error.field, error.tensor) == (
        Reason.TIE_MISFIT,
        f"{UNITS}.groups[0].ties[1]",
        "down.weight",
    )
    assert words in str(error)


def test_a_tie_that_leaves_positions_over() -> None:
    state_dict = mlp(1, 2) | {"down.weight": torch.zeros(3, 8)}  # flattened from 2 x 2, so inner is 4
    error = refusal(state_dict, units(MLP))
    assert (error.reason, error.tensor) == (Reason.TIE_MISFIT, "down.weight")
    assert "are only 2" in str(error)


def test_positions_that_other_groups_do_not_own_are_left_alone_where_the_number_of_units_is_said() -> None:
    state_dict = mlp(1, 2) | {"down.weight": torch.arange(6.0).reshape(1, 6)}
    tied = group("up.weight:0", ChannelSlice("down.weight", 1, scored=False), units=2)
    result = prune_with(state_dict, units(tied), output="removed").state_dict["down.weight"]
    assert torch.equal(result, torch.tensor([[1.0, 2, 3, 4, 5]]))  # type: ignore[arg-type]


def test_a_number_of_units_that_cannot_be_known() -> None:
    error = refusal(mlp(1, 2), units(group(ChannelSlice("up.weight", offset=1))))
    assert error.reason is Reason.TIE_MISFIT
    assert "say units: N" in str(error)


def test_rows_that_are_no_whole_units() -> None:
    assert refusal(mlp(1, 2, 3), units(group(ChannelSlice("up.weight", inner=2)))).reason is Reason.TIE_MISFIT


def test_a_unit_in_two_groups() -> None:
    error = refusal(mlp(1, 2), units(MLP, group("up.bias:0")))
    assert isinstance(error, MismatchError)
    assert (error.reason, error.field, error.tensor) == (Reason.UNIT_IN_TWO_GROUPS, UNITS, "up.bias")
    assert "'up.weight'" in str(error)


def test_a_unit_in_two_groups_of_one_name() -> None:
    error = refusal(mlp(1, 2), units(group("up.weight:0"), group("up.weight:0", "down.weight:1")))
    assert "two groups of the name 'up.weight'" in str(error)


def test_a_unit_twice_in_one_group() -> None:
    state_dict = mlp(1, 2) | {"qkv": torch.zeros(4, 2)}
    overlapping = group("up.weight:0", ChannelSlice("qkv", offset=0, inner=2), ChannelSlice("qkv", offset=2, inner=1))
    error = refusal(state_dict, units(overlapping))
    assert error.reason is Reason.UNIT_IN_TWO_GROUPS
    assert "group 'up.weight' twice" in str(error)


def test_a_unit_in_two_groups_of_different_rules() -> None:
    other = group("up.bias:0", "up.weight:0", "down.weight:1")
    error = refusal(mlp(1, 2), units(MLP), units(other))
    assert (error.reason, error.field) == (Reason.UNIT_IN_TWO_GROUPS, "rules[1].granularity.units")


def test_a_unit_in_a_map_and_a_group() -> None:
    ffn = {"x.intermediate.dense.weight": torch.ones(4, 2), "x.output.dense.weight": torch.ones(2, 4)}
    error = refusal(ffn, units(group("x.output.dense.weight:1"), map="bert_ffn"))
    assert error.reason is Reason.UNIT_IN_TWO_GROUPS


def test_two_names_of_one_tensor_are_one_place() -> None:
    shared = torch.ones(2, 2)
    error = refusal({"a": shared, "b": shared}, units(group("a:0", "b:0")))
    assert (error.reason, error.tensor) == (Reason.UNIT_IN_TWO_GROUPS, "a")


def test_a_tensor_that_cannot_be_pruned() -> None:
    error = refusal(mlp(1, 2) | {"flags": torch.tensor([True, False])}, units(group("up.weight:0", "flags:0")))
    assert (error.reason, error.tensor) == (Reason.UNPRUNABLE_DTYPE, "flags")


def test_a_group_of_which_nothing_counts() -> None:
    error = refusal(mlp(1, 2), units(group("up.bias:0")))
    assert error.reason is Reason.TIE_MISFIT
    assert "scored: true" in str(error)


def test_scores_that_are_missing() -> None:
    state_dict = mlp(1, 2) | {"up.weight:scores": torch.ones(2, 2)}
    error = refusal(state_dict, units(MLP, score=ImportanceScores()))
    assert (error.reason, error.tensor) == (Reason.MISSING_COMPANION, "down.weight")


@pytest.mark.parametrize(
    ("scope", "words"), [(Scope.LOCAL, "group 'up.weight' has"), (Scope.GLOBAL, "the groups have")]
)
def test_a_count_above_what_there_is(scope: Scope, words: str) -> None:
    error = refusal(mlp(1, 2), units(MLP, amount=Count(3), scope=scope))
    assert (error.reason, error.field) == (Reason.COUNT_TOO_LARGE, "rules[0].amount.count")
    assert words in str(error)


def test_a_count_above_what_is_still_unpruned() -> None:
    one = group("up.weight:0")
    error = refusal(
        {"up.weight": mlp(0, 1)["up.weight"]}, units(one, amount=None, score=Dead()), units(one, amount=Count(2))
    )
    assert (error.reason, error.field) == (Reason.COUNT_TOO_LARGE, "rules[1].amount.count")


def test_nan_among_what_is_ranked() -> None:
    error = refusal(mlp(1, 2) | {"down.weight": torch.tensor([[1.0, float("nan")]])}, units(MLP))
    assert isinstance(error, CheckpointError)
    assert (error.reason, error.tensor) == (Reason.NAN_WEIGHTS, "down.weight")


def test_nan_in_coupled_tensor_that_is_not_scored() -> None:
    prune_with(mlp(1, 2) | {"up.bias": torch.tensor([1.0, float("nan")])}, units(MLP))


def test_more_channel_slices_than_any_checkpoint_has() -> None:
    state_dict = {f"{at}.w": torch.ones(1) for at in range(500)}
    error = refusal(state_dict, units(*(group("w:0", for_each="*") for _ in range(401))))
    assert (error.reason, error.field) == (Reason.INVALID_RECIPE, f"{UNITS}.groups")


def test_heads_that_do_not_divide_the_rows() -> None:
    attention = {f"{part}_proj.weight": torch.ones(12, 12) for part in "qkvo"}
    state_dict = {f"attn.{name}": tensor for name, tensor in attention.items()}
    error = refusal(state_dict, units(map="llama_kv_groups", head_dim=5))
    assert (error.reason, error.field) == (Reason.TIE_MISFIT, f"{UNITS}.head_dim")


def test_query_heads_that_are_no_multiple_of_the_key_heads() -> None:
    rows = {"q": 12, "k": 8, "v": 8, "o": 12}
    state_dict = {f"attn.{part}_proj.weight": torch.ones(size, 12) for part, size in rows.items()}
    assert refusal(state_dict, units(map="llama_kv_groups", head_dim=4)).reason is Reason.TIE_MISFIT


def test_format_removed_without_units() -> None:
    with pytest.raises(RecipeError, match="granularity `units`") as caught:
        prune_state_dict({"weight": torch.ones(2, 2)}, recipe(l1()), output="removed")
    assert caught.value.field == "output"


def test_a_part_that_is_none_of_the_granularities() -> None:
    with pytest.raises(RecipeError, match="Entries or Channels or Units"):
        Recipe((Rule(score=Magnitude(), granularity=MLP),))  # type: ignore[arg-type]
