"""Schedules say what each round of an iterative pruning is to reach."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruning_client import Client, PruningSchedule, rules
from pruning_client.errors import RecipeError
from pruning_proto.reasons import Reason
from tests.servers import ServerProcess

TO_A_SPARSITY = [PruningSchedule.constant_fraction_to, PruningSchedule.linear, PruningSchedule.cubic]
PARTS = st.floats(0.0, 1.0, exclude_max=True)

to_a_sparsity = pytest.mark.parametrize("build", TO_A_SPARSITY, ids=lambda build: build.__name__)


def test_constant_fraction_leaves_the_same_part_each_round() -> None:
    assert PruningSchedule.constant_fraction(0.5, rounds=3).sparsities == (0.5, 0.75, 0.875)


def test_first_of_a_constant_fraction_is_the_fraction_itself() -> None:
    assert PruningSchedule.constant_fraction(0.1, rounds=2).sparsities == (0.1, 0.19)


@given(fraction=st.floats(0.0, 1.0), start=st.floats(0.0, 1.0), rounds=st.integers(1, 50))
def test_constant_fraction_never_falls(fraction: float, start: float, rounds: int) -> None:
    reached = PruningSchedule.constant_fraction(fraction, rounds=rounds, start=start).sparsities
    assert [start, *reached] == sorted([start, *reached])


def test_constant_fraction_to_a_sparsity_finds_the_fraction() -> None:
    schedule = PruningSchedule.constant_fraction_to(0.875, rounds=3)
    assert schedule.sparsities == pytest.approx((0.5, 0.75, 0.875))


def test_linear_prunes_as_many_each_round() -> None:
    assert PruningSchedule.linear(0.75, rounds=3, start=0.0).sparsities == pytest.approx((0.25, 0.5, 0.75))


def test_cubic_is_equation_1_of_zhu_and_gupta() -> None:
    """s_f + (s_i - s_f) (1 - r / n)^3 with s_i = 0.1, s_f = 0.9, n = 4."""
    schedule = PruningSchedule.cubic(0.9, rounds=4, start=0.1)
    assert schedule.sparsities == pytest.approx((0.9 - 0.8 * 27 / 64, 0.9 - 0.8 / 8, 0.9 - 0.8 / 64, 0.9))


@to_a_sparsity
@given(ends=st.tuples(PARTS, PARTS), rounds=st.integers(1, 50))
def test_every_schedule_rises_from_its_start_to_exactly_what_was_asked(
    build: Callable[..., PruningSchedule], ends: tuple[float, float], rounds: int
) -> None:
    start, sparsity = sorted(ends)
    schedule = build(sparsity, rounds=rounds, start=start)
    assert [start, *schedule.sparsities] == sorted([start, *schedule.sparsities])
    assert (len(schedule), schedule.sparsities[-1]) == (rounds, sparsity)


def test_a_round_tells_where_it_begins_and_ends() -> None:
    first, second = PruningSchedule((0.5, 0.9), start=0.2)
    assert (first.number, first.before, first.sparsity) == (1, 0.2, 0.5)
    assert (second.number, second.before, second.sparsity) == (2, 0.5, 0.9)


def test_a_round_asks_for_its_absolute_sparsity() -> None:
    (only,) = PruningSchedule((0.75,))
    assert only.amount == rules.sparsity(0.75)


def test_a_rounds_fraction_is_of_what_is_left() -> None:
    assert [step.fraction for step in PruningSchedule((0.5, 0.75, 1.0, 1.0))] == [0.5, 0.5, 1.0, 0.0]


def test_schedules_are_values() -> None:
    assert PruningSchedule([0.5, 0.9]) == PruningSchedule((0.5, 0.9))  # type: ignore[arg-type]  # a list will do
    assert hash(PruningSchedule((0.5,))) == hash(PruningSchedule((0.5,)))


def test_rounds_through_a_server_reach_each_sparsity(server: ServerProcess) -> None:
    torch = pytest.importorskip("torch")
    state_dict = {"fc.weight": torch.randn(40, 50)}
    reached = []
    with Client(server.address) as client:
        for step in PruningSchedule.cubic(0.9, rounds=3):
            result = client.prune(state_dict, rules.l1_unstructured(step.amount), output="masked")
            state_dict = result.state_dict
            reached.append(result.report.sparsity)
    assert reached == pytest.approx(PruningSchedule.cubic(0.9, rounds=3).sparsities, abs=1 / 2000)


@to_a_sparsity
@pytest.mark.parametrize(
    ("sparsity", "arguments", "field", "reason"),
    [
        pytest.param(1.1, {}, "sparsity", Reason.AMOUNT_OUT_OF_RANGE, id="above one"),
        pytest.param(math.nan, {}, "sparsity", Reason.AMOUNT_OUT_OF_RANGE, id="NaN"),
        pytest.param("0.5", {}, "sparsity", Reason.AMOUNT_OUT_OF_RANGE, id="text"),
        pytest.param(0.5, {"start": -0.1}, "start", Reason.AMOUNT_OUT_OF_RANGE, id="start below zero"),
        pytest.param(0.5, {"start": 0.6}, "sparsity", Reason.INVALID_RECIPE, id="below its start"),
        pytest.param(0.5, {"rounds": 0}, "rounds", Reason.INVALID_RECIPE, id="no rounds"),
        pytest.param(0.5, {"rounds": 2.0}, "rounds", Reason.INVALID_RECIPE, id="rounds that are no whole number"),
    ],
)
def test_what_makes_no_schedule_is_refused(
    build: Callable[..., PruningSchedule], sparsity: Any, arguments: dict[str, Any], field: str, reason: Reason
) -> None:
    with pytest.raises(RecipeError) as caught:
        build(sparsity, **{"rounds": 3, **arguments})
    assert (caught.value.metadata["field"], caught.value.reason) == (field, reason)


def test_sparsities_that_fall_are_refused_by_position() -> None:
    with pytest.raises(RecipeError, match=r"sparsities\[1\]: what is pruned stays pruned: a sparsity of 0\.9 or more"):
        PruningSchedule((0.9, 0.5))


def test_an_empty_schedule_is_refused() -> None:
    with pytest.raises(RecipeError, match="one round or more"):
        PruningSchedule(())


def test_constant_fraction_that_is_to_prune_all_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"sparsity: a constant fraction never prunes all"):
        PruningSchedule.constant_fraction_to(1.0, rounds=3)
