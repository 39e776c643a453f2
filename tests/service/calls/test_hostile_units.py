"""Lists of units and numbered names that are meant to cost much, or to mislead."""

import pytest

from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from tests.servers import ServerProcess
from tests.service import raw
from tests.service.raw import Outcome

MILLION = 1_000_000


def listed(units: pb.UnitList, *ties: str, for_each: str = "", **groups: pb.UnitList) -> pb.Rule:
    """Return a rule that lists units of tensors along dim 0, or of numbered ones."""
    group = pb.Group(for_each=for_each, ties=[pb.Tie(tensor=tie) for tie in ties])
    score = pb.Score(listed=pb.ListedUnits(every_group=units, groups=groups))
    return pb.Rule(score=score, granularity=pb.Granularity(units=pb.Units(groups=[group])))


def empty(*names: str) -> bytes:
    """Return a file of tensors without a byte, of a million positions each."""
    return raw.file({name: ("F32", [MILLION, 0], b"") for name in names})


def removed(server: ServerProcess, content: bytes, rule: pb.Rule) -> Outcome:
    return raw.prune(server.address, content, rules=[rule], output=pb.OUTPUT_FORM_REMOVED)


def test_too_many_runs_of_positions_are_refused(server: ServerProcess) -> None:
    every_second = pb.UnitList(kept_bits=b"\x55" * (MILLION // 8))
    outcome = removed(server, empty("a", "b"), listed(every_second, "a", "b"))
    assert outcome.failure.reason == Reason.UNIT_MISFIT
    assert "500,000" in outcome.failure.message


def test_too_many_units_of_all_groups_are_refused(server: ServerProcess) -> None:
    names = [f"{prefix}.w" for prefix in "abcd"]
    outcome = removed(server, empty(*names), listed(pb.UnitList(kept=[1]), "w", for_each="*"))
    assert outcome.failure.reason == Reason.UNIT_MISFIT


@pytest.mark.parametrize("number", ["01", "1e1", "٣", "99999999999999999999"], ids=["zero", "float", "digit", "huge"])
def test_other_texts_than_numbers_are_no_units(server: ServerProcess, number: str) -> None:
    names = ["experts.0.w", "experts.1.w", f"experts.{number}.w"]
    content = raw.file({name: ("F32", [1], raw.f32(1)) for name in names})
    outcome = removed(server, content, listed(pb.UnitList(kept=[1]), "experts.{unit}.*"))
    assert not outcome.failure.message
    assert f'"experts.{number}.w"'.encode() in outcome.data


def test_units_beyond_the_numbers_are_refused(server: ServerProcess) -> None:
    content = raw.file({f"experts.{number}.w": ("F32", [1], raw.f32(1)) for number in range(3)})
    outcome = removed(server, content, listed(pb.UnitList(pruned=[2**32 - 1]), "experts.{unit}.*"))
    assert outcome.failure.reason == Reason.UNIT_MISFIT


def test_positions_that_are_not_whole_bytes_are_refused(server: ServerProcess) -> None:
    content = raw.file({"w": ("F4", [2, 1], b"\x21")})
    outcome = removed(server, content, listed(pb.UnitList(kept=[1]), "w"))
    assert outcome.failure.reason == Reason.UNPRUNABLE_DTYPE


def test_a_group_of_another_rule_is_unknown(server: ServerProcess) -> None:
    content = raw.file({f"experts.{number}.w": ("F32", [1], raw.f32(1)) for number in range(3)})
    outcome = removed(server, content, listed(pb.UnitList(kept=[1]), "experts.{unit}.*", other=pb.UnitList(kept=[0])))
    assert outcome.failure.reason == Reason.UNIT_MISFIT


def test_many_ties_of_the_same_names_are_refused(server: ServerProcess) -> None:
    content = raw.file({f"experts.{number}.w": ("F32", [0], b"") for number in range(3000)})
    outcome = removed(server, content, listed(pb.UnitList(kept=[1]), *["experts.{unit}.w"] * 3000))
    assert outcome.failure.reason in {Reason.INVALID_RECIPE, Reason.UNIT_IN_TWO_GROUPS}
