"""What a model's router asks of rules that remove experts, and names of experts in config.json."""

from typing import Any

import pytest

from pruning_client import Recipe, Rule, rules
from pruning_client.errors import MismatchError, PruningError
from pruning_client.huggingface.experts.counts import expert_counts
from pruning_client.huggingface.experts.limits import with_expert_limits
from pruning_client.huggingface.experts.module_names import with_renumbered_experts
from pruning_client.results.group_report import GroupReport
from pruning_proto.v1 import pruning_pb2 as pb

MIXTRAL = {"num_local_experts": 8, "num_experts_per_tok": 2}
DEEPSEEK = {"n_routed_experts": 16, "num_experts_per_tok": 6, "n_group": 4, "topk_group": 2}


def completed(config: dict[str, Any], rule: Rule) -> pb.Units:
    return with_expert_limits(config, Recipe([rule]).to_message()).rules[0].granularity.units


def test_each_layer_keeps_as_many_as_a_token_takes() -> None:
    units = completed(MIXTRAL, rules.keep_experts(4))
    assert (units.least_kept, units.balanced_blocks, units.same_width) == (2, 0, True)


def test_groups_of_the_router_keep_the_same_number() -> None:
    units = completed({"text_config": DEEPSEEK}, rules.keep_experts(12))
    assert (units.least_kept, units.balanced_blocks) == (12, 4)


@pytest.mark.parametrize(
    ("part", "least"),
    [
        ({"n_routed_experts": 16, "num_experts_per_tok": 1, "n_group": 4, "topk_group": 2}, 8),
        ({"n_routed_experts": 16, "num_experts_per_tok": 1, "n_group": 1, "topk_group": 1}, 2),
        ({**DEEPSEEK, "num_experts_per_tok": 1, "topk_method": "group_limited_greedy"}, 4),
        ({**DEEPSEEK, "topk_method": "greedy"}, 6),
        ({"num_experts": 64, "moe_topk": [4, 8]}, 8),
    ],
    ids=["two of each group", "two of one group", "one of each group", "no groups", "per layer"],
)
def test_least_number_of_experts_follows_from_the_router(part: dict[str, Any], least: int) -> None:
    counts = expert_counts(part)
    assert counts is not None
    assert counts.least == least


@pytest.mark.parametrize(
    ("config", "rule", "wrong"),
    [
        (MIXTRAL, rules.keep_experts(1), "1 expert is left .* takes 2"),
        (MIXTRAL, rules.drop_experts("0-6"), "1 expert is left .* takes 2"),
        (DEEPSEEK, rules.keep_experts(14), "14 experts are left .* not 4 groups of equal size"),
        (DEEPSEEK, rules.keep_experts(8), "8 experts are left .* in 4 groups .* keep at least 12"),
        (DEEPSEEK, rules.drop_experts("0-3"), r"4 groups of the router \(n_group: 4 experts each\) keep 0, 4, 4, 4"),
        (MIXTRAL, rules.drop_experts({"l.0.mlp": [1], "l.1.mlp": [1, 2]}), "would keep 6 and 7 .* list as many"),
    ],
    ids=["kept", "listed", "groups", "few of groups", "unbalanced", "unlike"],
)
def test_too_few_experts_are_refused_before_anything_is_sent(config: dict[str, Any], rule: Rule, wrong: str) -> None:
    with pytest.raises(MismatchError, match=wrong):
        completed(config, rule)


def test_blocks_that_split_groups_of_the_router_are_refused() -> None:
    with pytest.raises(PruningError, match="2 are not whole groups of the router, which has 4"):
        completed(DEEPSEEK, rules.keep_experts(12, balanced_blocks=2))


def test_other_rules_are_not_changed() -> None:
    recipe = Recipe([rules.remove_units(0.5, map="llama_mlp")]).to_message()
    assert with_expert_limits(MIXTRAL, recipe) == recipe


GROUP = GroupReport(
    rule=0,
    name="l.0.mlp",
    units=4,
    kept=(0, 2, 3),
    tensors=("l.0.mlp.experts.{unit}.up.weight",),
    config={},
    map="experts",
)


def test_names_of_experts_follow_their_new_numbers() -> None:
    ignored = ["lm_head", "l.0.mlp.experts.1.up", "l.0.mlp.experts.2.up", "l.1.mlp.experts.1.up", "re:.*gate$"]
    config = {"quantization_config": {"ignore": ignored}}
    left = ["lm_head", "l.0.mlp.experts.1.up", "l.1.mlp.experts.1.up", "re:.*gate$"]
    assert with_renumbered_experts(config, [GROUP]) == {"quantization_config": {"ignore": left}}


def test_patterns_with_numbers_of_experts_are_refused() -> None:
    config = {"quantization_config": {"ignore": [r"re:.*experts\.3\..*"]}}
    with pytest.raises(MismatchError, match="names experts by their numbers"):
        with_renumbered_experts(config, [GROUP])
