"""Units that are left out before any data, over the wire: with their bytes, and without them."""

import json

import grpc
import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from pruning_proto.reasons import Reason
from pruning_proto.safetensors.header import parse
from pruning_proto.v1 import pruning_pb2 as pb
from tests.servers import ServerProcess
from tests.service import raw
from tests.service.raw import Outcome

REMOVED = pb.OUTPUT_FORM_REMOVED


def moe(layers: int = 2, experts: int = 4) -> dict[str, torch.Tensor]:
    """Return layers with a router and numbered experts, each of its own numbers."""
    tensors = {"embed.weight": torch.arange(12.0).reshape(6, 2)}
    for layer in range(layers):
        block = f"layers.{layer}.mlp"
        tensors[f"layers.{layer}.norm.weight"] = torch.full((2,), float(layer))
        tensors[f"{block}.gate.weight"] = torch.arange(experts * 2.0).reshape(experts, 2) + 100 * layer
        for expert in range(experts):
            number = float(100 * layer + expert)
            tensors[f"{block}.experts.{expert}.up.weight"] = torch.full((4, 2), number)
            tensors[f"{block}.experts.{expert}.up.weight_scale"] = torch.tensor([number])
            tensors[f"{block}.experts.{expert}.down.weight"] = torch.full((2, 4), number)
    return tensors


EXPERTS = pb.Units(
    groups=[
        pb.Group(
            for_each="layers.*.mlp",
            ties=[pb.Tie(tensor="gate.weight"), pb.Tie(tensor="experts.{unit}.*")],
            config={"num_experts": 1},
        )
    ]
)
LAYERS = pb.Units(groups=[pb.Group(ties=[pb.Tie(tensor="layers.{unit}.*")])])
ROWS = pb.Units(groups=[pb.Group(ties=[pb.Tie(tensor="embed.weight")])])


def listed(granularity: pb.Units, **units: object) -> pb.Rule:
    """Return a rule that lists the units of every group."""
    score = pb.Score(listed=pb.ListedUnits(every_group=pb.UnitList(**units)))  # type: ignore[arg-type]
    return pb.Rule(score=score, granularity=pb.Granularity(units=granularity))


def without_skipped(server: ServerProcess, content: bytes, *rules: pb.Rule) -> Outcome:
    """Send the header, and what the plan asks for."""
    plan = pb.Plan()
    asked = raw.options(content, list(rules), REMOVED)
    for response in raw.prune(server.address, content, rules=list(rules), output=REMOVED).responses:
        plan.skipped.extend(response.plan.skipped)
    begin = 8 + int.from_bytes(content[:8], "little")
    buffer = np.frombuffer(content[begin:], np.uint8)
    needed = np.ones(len(buffer), np.bool_)
    for each in plan.skipped:
        needed[each.begin : each.end] = False
    asked.options.leaves_out_skipped = True
    sent = content[:begin] + buffer[needed].tobytes()
    assert len(sent) < len(content)
    return raw.call(server.address, [asked, *raw.data(sent[:begin]), *raw.data(sent[begin:])])


def test_listed_experts_are_left_out_and_renumbered(server: ServerProcess) -> None:
    outcome = raw.prune(server.address, save(moe()), rules=[listed(EXPERTS, kept=[1, 3])], output=REMOVED)
    found = load(outcome.data)
    assert found["layers.1.mlp.experts.1.up.weight"].flatten()[0].item() == 103.0
    assert found["layers.1.mlp.experts.0.up.weight_scale"].tolist() == [101.0]
    assert found["layers.0.mlp.gate.weight"].tolist() == [[2.0, 3.0], [6.0, 7.0]]
    assert not any(".experts.2." in name for name in found)


@pytest.mark.parametrize(
    "rules",
    [
        [listed(EXPERTS, kept=[1, 3])],
        [listed(LAYERS, pruned=[0])],
        [listed(ROWS, kept_bits=bytes([0b101001]))],
        [listed(LAYERS, pruned=[0]), listed(EXPERTS, kept=[0]), raw.l1(0.5), listed(ROWS, pruned=[5])],
    ],
    ids=["experts", "layers", "rows", "all, then entries"],
)
def test_the_result_is_the_same_without_the_skipped_bytes(server: ServerProcess, rules: list[pb.Rule]) -> None:
    content = save(moe())
    whole = raw.prune(server.address, content, rules=rules, output=REMOVED)
    less = without_skipped(server, content, *rules)
    assert whole.code is grpc.StatusCode.OK, whole.failure
    assert less.data == whole.data
    assert len(load(less.data))


def test_layers_then_experts_have_both_numbers_changed(server: ServerProcess) -> None:
    rules = [listed(EXPERTS, pruned=[0]), listed(LAYERS, pruned=[0])]
    found = load(raw.prune(server.address, save(moe(3)), rules=rules, output=REMOVED).data)
    assert found["layers.1.mlp.experts.2.down.weight"].flatten()[0].item() == 203.0
    assert "layers.2.norm.weight" not in found


def test_the_plan_says_what_is_left_out(server: ServerProcess) -> None:
    outcome = raw.prune(server.address, save(moe()), rules=[listed(EXPERTS, pruned=[0])], output=pb.OUTPUT_FORM_REMOVED)
    tensors = {each.name: each for response in outcome.responses for each in response.plan.tensors}
    assert tensors["layers.0.mlp.experts.0.up.weight"].removed
    assert tensors["layers.0.mlp.experts.2.up.weight"].result_name == "layers.0.mlp.experts.1.up.weight"
    assert list(tensors["layers.0.mlp.gate.weight"].shape) == [4, 2]
    (first, _) = outcome.plan.groups
    assert (first.name, list(first.kept), dict(first.config)) == ("layers.0.mlp", [1, 2, 3], {"num_experts": 3})


def test_the_report_and_metadata_have_the_new_number(server: ServerProcess) -> None:
    outcome = raw.prune(server.address, save(moe()), rules=[listed(EXPERTS, kept=[2])], output=REMOVED)
    assert [list(group.kept) for group in outcome.report.groups] == [[2], [2]]
    header = parse(outcome.data[8 : 8 + int.from_bytes(outcome.data[:8], "little")])
    assert json.loads(header.metadata["pruning.config.v1"]) == {"num_experts": 1}


def test_the_size_of_the_result_is_known_with_the_plan(server: ServerProcess) -> None:
    outcome = raw.prune(server.address, save(moe()), rules=[listed(EXPERTS, kept=[2])], output=REMOVED)
    assert outcome.plan.result_bytes == len(outcome.data)


def test_scores_in_the_recipe_choose_before_any_data(server: ServerProcess) -> None:
    values = pb.UnitValues(values=[3, 1, 4, 2])
    groups = {f"layers.{layer}.mlp": values for layer in range(2)}
    score = pb.Score(unit_scores=pb.UnitScores(groups=groups))
    rule = pb.Rule(score=score, amount=pb.Amount(kept=2), granularity=pb.Granularity(units=EXPERTS))
    outcome = raw.prune(server.address, save(moe()), rules=[rule], output=REMOVED)
    assert [list(group.kept) for group in outcome.plan.groups] == [[0, 2], [0, 2]]
    assert load(outcome.data)["layers.0.mlp.gate.weight"].shape == (2, 2)


def test_report_ranks_numbered_tensors(server: ServerProcess) -> None:
    rule = pb.Rule(
        score=pb.Score(magnitude=pb.Magnitude()),
        amount=pb.Amount(kept=1),
        granularity=pb.Granularity(units=EXPERTS),
    )
    outcome = raw.prune(server.address, save(moe()), rules=[rule], output=pb.OUTPUT_FORM_REPORT)
    assert [list(group.kept) for group in outcome.report.groups] == [[3], [3]]
    assert list(outcome.plan.groups[0].scored) == ["layers.0.mlp.experts.{unit}.*", "layers.0.mlp.gate.weight"]


def test_report_of_listed_units_leaves_the_others_out(server: ServerProcess) -> None:
    ranking = pb.Rule(
        score=pb.Score(magnitude=pb.Magnitude()),
        amount=pb.Amount(kept=1),
        granularity=pb.Granularity(units=EXPERTS),
    )
    rules = [listed(LAYERS, pruned=[0]), ranking]
    outcome = raw.prune(server.address, save(moe()), rules=rules, output=pb.OUTPUT_FORM_REPORT)
    assert [group.name for group in outcome.report.groups] == ["layers.{unit}.*", "layers.1.mlp"]


def test_plan_of_listed_units_needs_no_data(server: ServerProcess) -> None:
    content = save(moe())
    header = content[: 8 + int.from_bytes(content[:8], "little")]
    asked = raw.options(content, [listed(LAYERS, kept=[1])], pb.OUTPUT_FORM_PLAN)
    outcome = raw.call(server.address, [asked, *raw.data(header)])
    assert outcome.kinds == ["plan"]
    assert list(outcome.plan.groups[0].kept) == [1]


def test_a_pattern_of_removed_tensors_selects_nothing(server: ServerProcess) -> None:
    rules = [raw.l1(0.5, select=pb.Selector(include=["layers.0.*"])), listed(LAYERS, pruned=[0])]
    outcome = raw.prune(server.address, save(moe()), rules=rules, output=REMOVED)
    assert outcome.failure.reason == Reason.SELECTS_NOTHING


def test_too_few_bytes_are_refused(server: ServerProcess) -> None:
    content = save(moe())
    outcome = raw.call(
        server.address, [raw.options(content, [listed(LAYERS, pruned=[1])], REMOVED), *raw.data(content[:-4])]
    )
    assert outcome.failure.reason == Reason.TRUNCATED


def test_a_whole_file_is_too_long_without_the_skipped_bytes(server: ServerProcess) -> None:
    content = save(moe())
    asked = raw.options(content, [listed(LAYERS, pruned=[0])], REMOVED, leaves_out_skipped=True)
    begin = 8 + int.from_bytes(content[:8], "little")
    outcome = raw.call(server.address, [asked, *raw.data(content[:begin]), *raw.data(content[begin:])])
    assert outcome.failure.reason == Reason.OVERLONG


@pytest.mark.parametrize(
    ("fields", "output"),
    [({"digests": True}, REMOVED), ({}, pb.OUTPUT_FORM_PRUNED)],
    ids=["digests", "another format"],
)
def test_bytes_are_left_out_of_removals_only(
    server: ServerProcess, fields: dict[str, bool], output: pb.OutputForm
) -> None:
    rules = [listed(ROWS, pruned=[1])]
    outcome = raw.prune(server.address, save(moe()), rules=rules, output=output, leaves_out_skipped=True, **fields)
    assert outcome.failure.reason == Reason.INVALID_RECIPE


def test_quantized_experts_can_be_left_out(server: ServerProcess) -> None:
    tensors = {"gate.weight": torch.ones(2, 2)}
    for expert in range(2):
        codes = torch.full((2, 2), expert, dtype=torch.int32)
        tensors |= {f"experts.{expert}.w.qweight": codes, f"experts.{expert}.w.scales": torch.ones(2, 2)}
    group = pb.Group(ties=[pb.Tie(tensor="gate.weight"), pb.Tie(tensor="experts.{unit}.*")])
    outcome = raw.prune(
        server.address, save(tensors), rules=[listed(pb.Units(groups=[group]), kept=[1])], output=REMOVED
    )
    assert load(outcome.data)["experts.0.w.qweight"].flatten()[0].item() == 1
