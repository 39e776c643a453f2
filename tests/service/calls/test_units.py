"""Coupled channels over the wire: the engine's choice in every output format, and every refusal."""

import json
from pathlib import Path

import grpc
import pytest
import torch
from safetensors.torch import load, save

from pruning_engine import prune_state_dict
from pruning_engine.granularities.maps.builtin_groups import MAPS
from pruning_engine.recipe import Recipe
from pruning_engine.report import GroupReport, Report
from pruning_proto import limits
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.messages.plan_and_report import report_messages
from tests.engine.tied import group, mlp
from tests.engine.tied import units as asked
from tests.servers import ServerProcess, running_server
from tests.service import raw
from tests.service.raw import Outcome
from tests.service.resources.test_memory import watched

MLP = [pb.Tie(tensor="up.weight"), pb.Tie(tensor="up.bias"), pb.Tie(tensor="down.weight", dim=1)]
EACH = pb.Units(groups=[pb.Group(for_each="*", ties=MLP)])
MODEL = mlp(3, 1, 4, 2, name="a") | mlp(1, 2, name="b") | {"other": torch.ones(3)}
FORMS = {
    pb.OUTPUT_FORM_PRUNED: "pruned",
    pb.OUTPUT_FORM_MASKED: "masked",
    pb.OUTPUT_FORM_MASK: "mask",
    pb.OUTPUT_FORM_REMOVED: "removed",
}


def units(granularity: pb.Units = EACH, **fields: object) -> pb.Rule:
    given = {"score": pb.Score(magnitude=pb.Magnitude()), "amount": pb.Amount(fraction=0.5)} | fields
    return pb.Rule(granularity=pb.Granularity(units=granularity), **given)  # type: ignore[arg-type]


def pruned(server: ServerProcess, *rules: pb.Rule, content: bytes | None = None, **fields: object) -> Outcome:
    return raw.prune(server.address, save(MODEL) if content is None else content, rules=list(rules), **fields)


@pytest.mark.parametrize("form", FORMS, ids=FORMS.values())
def test_each_form_is_the_engines(server: ServerProcess, form: pb.OutputForm) -> None:
    outcome = pruned(server, units(), output=form)
    rule = asked(group("up.weight:0", "up.bias:0", "down.weight:1", for_each="*"))
    expected = prune_state_dict(MODEL, Recipe((rule,), 7), output=FORMS[form]).state_dict
    found = load(outcome.data)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)  # type: ignore[arg-type]


def test_the_report_names_what_is_left(server: ServerProcess) -> None:
    first, second = pruned(server, units(), output=pb.OUTPUT_FORM_REMOVED).report.groups
    assert (first.rule, first.name, first.units, list(first.kept)) == (0, "a", 4, [0, 2])
    assert list(first.tensors) == ["a.up.weight", "a.up.bias", "a.down.weight"]
    assert (second.name, list(second.kept)) == ("b", [1])


def test_the_size_of_the_result_is_told_when_it_is_known(server: ServerProcess) -> None:
    outcome = pruned(server, units(), output=pb.OUTPUT_FORM_REMOVED)
    assert not outcome.plan.HasField("result_bytes")
    assert outcome.report.result_bytes == len(outcome.data)


def test_the_plan_tells_which_tensors_are_tied(server: ServerProcess) -> None:
    plan = pruned(server, units(), output=pb.OUTPUT_FORM_REPORT).plan
    assert {tensor.name: list(tensor.rules) for tensor in plan.tensors} == {
        name: [] if name == "other" else [0] for name in MODEL
    }


def test_the_file_tells_what_was_asked_and_what_its_config_now_says(server: ServerProcess) -> None:
    tied = pb.Units(groups=[pb.Group(for_each="*", ties=MLP, config={"intermediate_size": 2})])
    outcome = pruned(server, units(tied), output=pb.OUTPUT_FORM_REMOVED)
    metadata = json.loads(outcome.data[8 : 8 + int.from_bytes(outcome.data[:8], "little")])["__metadata__"]
    assert json.loads(metadata["pruning.config.v1"]) == {"intermediate_size": 4}
    (told,) = json.loads(metadata["pruning.v1"])
    assert told["recipe"]["rules"][0]["granularity"]["units"]["groups"][0]["forEach"] == "*"


def test_a_file_without_config_fields_tells_none(server: ServerProcess) -> None:
    assert b"pruning.config.v1" not in pruned(server, units(), output=pb.OUTPUT_FORM_REMOVED).data


def test_dead_units(server: ServerProcess) -> None:
    zeros = pruned(server, units(), output=pb.OUTPUT_FORM_PRUNED).data
    dead = units(score=pb.Score(dead=pb.Dead()), amount=None)
    later = load(pruned(server, dead, content=zeros, output=pb.OUTPUT_FORM_REMOVED).data)
    at_once = load(pruned(server, units(), output=pb.OUTPUT_FORM_REMOVED).data)
    assert all(torch.equal(later[name], at_once[name]) for name in at_once)


def test_aliases_may_be_tied(server: ServerProcess) -> None:
    tied = pb.Units(groups=[pb.Group(ties=[pb.Tie(tensor="other.name"), pb.Tie(tensor="down.weight", dim=1)])])
    content = save({name: tensor for name, tensor in mlp(1, 2).items() if name != "up.bias"})
    aliases = {"other.name": "up.weight"}
    outcome = pruned(server, units(tied), content=content, aliases=aliases, output=pb.OUTPUT_FORM_REMOVED)
    assert load(outcome.data)["up.weight"].shape == (1, 2)


def test_capabilities_list_maps_and_methods(server: ServerProcess) -> None:
    with grpc.insecure_channel(server.address) as channel:
        ask = channel.unary_unary(
            "/pruning.v1.PruningService/GetCapabilities",
            pb.GetCapabilitiesRequest.SerializeToString,
            pb.GetCapabilitiesResponse.FromString,
        )
        offered = ask(pb.GetCapabilitiesRequest(), timeout=10)
    assert {found.name: list(found.parameters) for found in offered.maps} == {
        name: list(found.parameters) for name, found in MAPS.items()
    }
    assert {"remove_units", "remove_random", "remove_dead"} <= {method.name for method in offered.methods}
    assert pb.OUTPUT_FORM_REMOVED in offered.outputs


def test_large_reports_span_several_messages() -> None:
    kept = tuple(range(100_000))
    groups = [GroupReport(rule=0, name=str(at), units=100_000, kept=kept, tensors=("w",), config={}) for at in range(4)]
    report = Report(tensors=(), seconds={}, device="cpu", seed=0, reproducible=True, groups=tuple(groups))
    messages = list(report_messages(report, pb.Report()))
    assert len(messages) > 1
    assert all(message.ByteSize() < limits.MESSAGE_BYTES for message in messages)
    assert [found.name for message in messages for found in message.report.groups] == ["0", "1", "2", "3"]


REFUSED = [
    (units(pb.Units()), Reason.INVALID_RECIPE, "recipe.rules[0].granularity.units.groups"),
    (units(pb.Units(map="gpt")), Reason.UNKNOWN_MAP, "recipe.rules[0].granularity.units.map"),
    (units(pb.Units(groups=[pb.Group(ties=[pb.Tie(tensor="no")])])), Reason.TIE_MISSING, "recipe.rules[0].granularity"),
    (
        units(pb.Units(groups=[pb.Group(ties=[pb.Tie(tensor="other", inner=2)])])),
        Reason.TIE_MISFIT,
        "recipe.rules[0].granularity.units.groups[0].ties[0]",
    ),
    (
        units(pb.Units(groups=[pb.Group(for_each="*", ties=MLP)] * 2)),
        Reason.UNIT_IN_TWO_GROUPS,
        'tensors["a.up.weight"]',
    ),
    (units(select=pb.Selector()), Reason.INVALID_RECIPE, "recipe.rules[0].select"),
    (units(score=pb.Score(dead=pb.Dead())), Reason.INVALID_RECIPE, "recipe.rules[0].amount"),
    (
        units(score=pb.Score(dead=pb.Dead()), amount=None, scope=pb.SCOPE_LOCAL),
        Reason.INVALID_RECIPE,
        "recipe.rules[0].scope",
    ),
]


@pytest.mark.parametrize(("rule", "reason", "place"), REFUSED, ids=[str(number) for number in range(len(REFUSED))])
def test_what_makes_no_sense_is_refused_before_the_buffer(
    server: ServerProcess, rule: pb.Rule, reason: Reason, place: str
) -> None:
    failure = pruned(server, rule, output=pb.OUTPUT_FORM_REMOVED).failure
    assert failure.reason == reason
    assert any(violation.field.startswith(place) for violation in failure.violations)


def test_a_group_that_no_message_can_tell_is_refused(server: ServerProcess) -> None:
    names = [f"{at}{'x' * 1000}" for at in range(600)]
    content = save({name: torch.ones(2) for name in names})
    tied = pb.Group(ties=[pb.Tie(tensor=name, scored=True) for name in names])
    failure = pruned(server, units(pb.Units(groups=[tied])), content=content).failure
    assert failure.reason == Reason.INVALID_RECIPE
    assert "600 tensors" in failure.message


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_the_server_holds_no_second_model() -> None:
    """Nearly all is kept: what is left in memory of its own would be another model's."""
    content = save({f"{at}.{name}": torch.rand(1500, 1500) for at in range(4) for name in "ab"})
    ties = [pb.Tie(tensor="a"), pb.Tie(tensor="b", dim=1)]
    rule = units(
        pb.Units(groups=[pb.Group(for_each="*", ties=ties)]), scope=pb.SCOPE_GLOBAL, amount=pb.Amount(fraction=0.01)
    )
    with running_server() as own:
        pruned(own, rule, content=content, output=pb.OUTPUT_FORM_REMOVED)  # threads, buffers: what a server has once
        with watched(own) as peak:
            outcome = pruned(own, rule, content=content, output=pb.OUTPUT_FORM_REMOVED)
    assert len(outcome.data) > 0.96 * len(content)
    assert peak.bytes < outcome.plan.peak_bytes < 1.7 * len(content)


def test_form_removed_without_units_is_refused(server: ServerProcess) -> None:
    failure = pruned(server, raw.l1(0.5), output=pb.OUTPUT_FORM_REMOVED).failure
    assert failure.reason == Reason.INVALID_RECIPE
    assert failure.violations[0].field == "output"


def test_an_unknown_field_deep_in_a_tie_is_refused_by_path(server: ServerProcess) -> None:
    tie = pb.Tie.FromString(pb.Tie(tensor="other").SerializeToString() + b"\xfa\x01\x01x")
    failure = pruned(server, units(pb.Units(groups=[pb.Group(ties=[tie])]))).failure
    assert failure.reason == Reason.UNSUPPORTED_FIELD
    assert failure.violations[0].field == "recipe.rules[0].granularity.units.groups[0].ties[0].<field 31>"
