"""Builders of rules that remove experts, layers and rows of the vocabulary."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from pruning_client import Rule, rules
from pruning_client.errors import MismatchError, PruningError, RecipeError
from pruning_client.statistics.unit_scores import unmeasured_units
from pruning_proto.v1 import pruning_pb2 as pb
from tests.client.tiny_files import F32, checkpoint, floats, written

MLP = "model.layers.0.mlp"


def listed(rule: Rule) -> pb.ListedUnits:
    return rule.to_message().score.listed


def test_a_number_of_experts_is_ranked_by_the_router() -> None:
    rule = rules.keep_experts(32).to_message()
    assert rule.granularity.units.map == "experts"
    assert rule.score.WhichOneof("kind") == "router_magnitude"
    assert rule.amount == pb.Amount(kept=32)
    assert rule.scope == pb.SCOPE_LOCAL


@pytest.mark.parametrize("units", [[3, 7, 12, 13], "3,7,12-13", range(4, 6), 5], ids=["list", "text", "range", "one"])
def test_listed_layers_are_dropped(units: list[int] | str | range | int) -> None:
    expected = {5: [5], range(4, 6): [4, 5]}.get(units if isinstance(units, int | range) else -1, [3, 7, 12, 13])
    assert listed(rules.drop_layers(units)) == pb.ListedUnits(every_group=pb.UnitList(pruned=expected))


def test_listed_tokens_are_kept() -> None:
    rule = rules.keep_tokens([2, 0])
    assert listed(rule) == pb.ListedUnits(every_group=pb.UnitList(kept=[0, 2]))
    assert not rule.to_message().HasField("amount")


def test_experts_are_listed_for_each_layer() -> None:
    rule = rules.keep_experts({MLP: "0-2"})
    assert listed(rule) == pb.ListedUnits(groups={MLP: pb.UnitList(kept=[0, 1, 2])})


def test_scores_are_numbers_by_group() -> None:
    rule = rules.keep_layers(2, score={"model.layers": (0.5, 0.25, 1)})
    assert rule.to_message().score.unit_scores.groups["model.layers"].values == [0.5, 0.25, 1.0]


@pytest.mark.parametrize(
    ("dtype", "content"),
    [
        pytest.param("F64", struct.pack("<2d", 1, -2), id="F64"),
        pytest.param("F32", floats(1, -2), id="F32"),
        pytest.param("F16", struct.pack("<2e", 1, -2), id="F16"),
        pytest.param("BF16", b"\x80\x3f\x00\xc0", id="BF16"),
        pytest.param("I64", struct.pack("<2q", 1, -2), id="I64"),
    ],
)
def test_scores_are_read_from_a_file(tmp_path: Path, dtype: str, content: bytes) -> None:
    file = written(tmp_path / "s.safetensors", checkpoint({f"{MLP}:unit_scores": (dtype, (2,), content)}))
    assert list(rules.keep_experts(1, score=file).to_message().score.unit_scores.groups[MLP].values) == [1.0, -2.0]


@pytest.mark.parametrize("counts", [(4.0, 0.0), (4.0,)], ids=["for each", "for all"])
def test_sums_in_a_file_are_divided_by_their_counts(tmp_path: Path, counts: tuple[float, ...]) -> None:
    shape: tuple[int, ...] = (len(counts),)
    tensors = {f"{MLP}:unit_sum": (F32, (2,), floats(2.0, 0.0)), f"{MLP}:unit_count": (F32, shape, floats(*counts))}
    file = written(tmp_path / "s.safetensors", checkpoint(tensors))
    assert list(rules.keep_experts(1, score=str(file)).to_message().score.unit_scores.groups[MLP].values) == [0.5, 0.0]


def test_file_without_scores_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path / "s.safetensors", checkpoint({"fc.weight": (F32, (1,), floats(1))}))
    with pytest.raises(MismatchError, match=r"has no scores of units: no tensor is named GROUP:unit_scores"):
        rules.keep_experts(1, score=file)


def test_sums_without_counts_are_refused(tmp_path: Path) -> None:
    file = written(tmp_path / "s.safetensors", checkpoint({"g:unit_sum": (F32, (1,), floats(1))}))
    with pytest.raises(PruningError, match=r"tensor 'g:unit_sum': needs the counts beside it, 'g:unit_count'"):
        rules.keep_experts(1, score=file)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        pytest.param(lambda: rules.keep_experts(0), "amount.kept: the number of units", id="none is kept"),
        pytest.param(lambda: rules.keep_layers(3), "score: a number of layers needs one", id="layers without scores"),
        pytest.param(lambda: rules.keep_experts([1], score="random"), "that are listed take no score", id="both"),
        pytest.param(lambda: rules.keep_experts(1, score="norm"), "score: this is 'router_magnitude'", id="unknown"),
        pytest.param(lambda: rules.drop_layers([1, 1]), "unit 1 is given twice", id="twice"),
        pytest.param(lambda: rules.drop_layers("5-3"), "a range ascends", id="descending"),
        pytest.param(lambda: rules.drop_layers("last"), "units are numbers from 0 on", id="words"),
        pytest.param(lambda: rules.drop_layers([-1]), "units are numbers from 0 on", id="negative"),
        pytest.param(lambda: rules.drop_layers([True]), "units are numbers from 0 on", id="flag"),
        pytest.param(lambda: rules.drop_layers([]), "name at least one unit", id="nothing"),
        pytest.param(
            lambda: rules.drop_experts(1, of="some"),  # type: ignore[arg-type]
            "of: this is one of 'all', 'layers', 'mtp'",
            id="of",
        ),
        pytest.param(lambda: rules.drop_experts({}), "name at least one group", id="no group"),
        pytest.param(lambda: rules.keep_layers(1, score={"g": [1, float("nan")]}), "of unit 1 is nan", id="NaN"),
    ],
)
def test_what_is_invalid_is_refused(build: Callable[[], Rule], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        build()


def test_units_that_were_not_measured_are_named(tmp_path: Path) -> None:
    tensors = {f"{MLP}:unit_sum": (F32, (2,), floats(2.0, 0.0)), f"{MLP}:unit_count": (F32, (2,), floats(4.0, 0.0))}
    assert unmeasured_units(written(tmp_path / "s.safetensors", checkpoint(tensors))) == {MLP: (1,)}


def test_groups_that_were_not_measured_are_refused(tmp_path: Path) -> None:
    tensors = {f"{MLP}:unit_sum": (F32, (2,), floats(0.0, 0.0)), f"{MLP}:unit_count": (F32, (1,), floats(0.0))}
    file = written(tmp_path / "s.safetensors", checkpoint(tensors))
    with pytest.raises(PruningError, match=r"unit_count': is 0: nothing was measured"):
        rules.keep_experts(1, score=file)
