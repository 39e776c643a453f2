"""When rules can run, and how many bytes are held meanwhile."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.planning.memory.profile import Footprint, MemoryStep, memory_profile
from pruning_engine.planning.scheduler import Arrive, Finish, Run, Schedule, Step, waits


def steps(rules: list[tuple[int, ...]], barriers: set[int], arrivals: list[int]) -> list[list[Step]]:
    schedule = Schedule(rules, barriers)
    return [list(schedule.add(arrival)) for arrival in arrivals]


def test_local_rules_run_at_once() -> None:
    assert steps([(0, 1)], set(), [0]) == [[Run(0, (0,)), Run(1, (0,)), Finish(0)]]


def test_a_parameter_without_rules_leaves_at_once() -> None:
    assert steps([()], set(), [0]) == [[Finish(0)]]


def test_a_global_rule_waits_for_all_that_it_selects() -> None:
    assert steps([(0,), (0,)], {0}, [1, 0]) == [
        [Arrive(0, 1)],
        [Arrive(0, 0), Run(0, (0, 1)), Finish(0), Finish(1)],
    ]


def test_a_global_rule_waits_for_earlier_rules_too() -> None:
    first, second = steps([(0, 1), (0, 2)], {0, 1, 2}, [0, 1])
    assert first == [Arrive(0, 0)]
    assert second == [
        Arrive(0, 1),
        Run(0, (0, 1)),
        Arrive(1, 0),
        Run(1, (0,)),
        Arrive(2, 1),
        Run(2, (1,)),
        Finish(0),
        Finish(1),
    ]


def test_others_do_not_wait_at_a_barrier() -> None:
    assert steps([(0,), (), (0,)], {0}, [0, 1])[1] == [Finish(1)]


def test_barriers_of_the_same_parameters_share_one_list_of_them() -> None:
    schedule = Schedule([(0, 1, 2), (2,), (0, 1)], {0, 1, 2})
    assert schedule.members(0) == (0, 2)
    assert schedule.members(0) is schedule.members(1)
    assert schedule.members(2) == (0, 1)


@pytest.mark.parametrize(
    ("rules", "barriers", "kept"),
    [
        ([(0, 1), (1,)], set(), [(), ()]),
        ([(0, 1, 2), (0, 1, 2)], {0, 1, 2}, [(0,), (0,)]),
        ([(0, 1, 2), (0, 2)], {0, 1, 2}, [(0, 1, 2), (0, 2)]),
        ([(0, 1), (0, 1), (0,)], {0, 1}, [(0, 1), (0, 1), (0,)]),
        ([(0, 1, 2), (0, 2)], {0, 2}, [(0,), (0,)]),
    ],
    ids=["local rules", "in a row", "one comes from another", "others come too", "a local rule between"],
)
def test_of_several_barriers_in_a_row_the_first_one_decides(
    rules: list[tuple[int, ...]], barriers: set[int], kept: list[tuple[int, ...]]
) -> None:
    assert waits(rules, barriers) == kept


@given(
    st.lists(st.sets(st.integers(0, 4)).map(lambda rules: tuple(sorted(rules))), min_size=1, max_size=5),
    st.sets(st.integers(0, 4)),
    st.randoms(use_true_random=False),
)
def test_what_decides_alone_leaves_parameters_at_the_same_arrivals(
    rules: list[tuple[int, ...]], barriers: set[int], chance: Random
) -> None:
    order = list(range(len(rules)))
    chance.shuffle(order)

    def leaving(chains: list[tuple[int, ...]]) -> list[set[int]]:
        return [
            {step.parameter for step in taken if isinstance(step, Finish)} for taken in steps(chains, barriers, order)
        ]

    assert leaving(waits(rules, barriers)) == leaving(rules)


def held(name: str, rules: tuple[int, ...], made: int = 0, result: int = 8) -> Footprint:
    return Footprint(
        sources=(name,),
        stages=rules,
        source_bytes=8,
        mask_bytes=1 if rules else 0,
        result_bytes=result,
        made_bytes=made,
    )


def arrivals(*names: str) -> list[TensorSpec]:
    return [TensorSpec(name, "F32", (2,)) for name in names]


def most(parameters: list[Footprint], order: list[TensorSpec], barriers: set[int]) -> int:
    return max(moment.held_bytes for moment in memory_profile(parameters, order, barriers))


@pytest.mark.parametrize(
    ("parameters", "barriers", "peak"),
    [
        ([held("a", ()), held("b", ())], set(), 8),
        ([held("a", (0,)), held("b", (0,))], set(), 9),
        ([held("a", (0,)), held("b", (0,))], {0}, 18),
        ([held("a", (0,), made=2, result=10)], set(), 11),
        ([held("a", (0,)), held("b", ()), held("c", (0,))], {0}, 26),
        ([held("a", (0,), result=1), held("b", (0,), result=1)], {0}, 18),
    ],
    ids=["passing", "local", "global", "a mask is made", "what waits for its turn", "masks only"],
)
def test_the_most_bytes_held(parameters: list[Footprint], barriers: set[int], peak: int) -> None:
    order = arrivals(*(parameter.sources[0] for parameter in parameters))
    assert most(parameters, order, barriers) == peak


def test_masks_at_the_end_of_a_file_hold_all_weights() -> None:
    pairs = [
        Footprint(sources=(name, mask), stages=(), source_bytes=16, mask_bytes=0, result_bytes=8, made_bytes=0)
        for name, mask in (("a", "am"), ("b", "bm"))
    ]
    assert most(pairs, arrivals("a", "b", "am", "bm"), set()) == 24


def test_all_whose_turn_has_come_leave_together() -> None:
    large = Footprint(sources=("c",), stages=(), source_bytes=100, mask_bytes=0, result_bytes=100, made_bytes=0)
    order = [*arrivals("a", "b"), TensorSpec("c", "F32", (25,))]
    assert most([held("a", (0,)), held("b", (0,)), large], order, {0}) == 100


def test_memory_step_has_arrived_and_released_bytes() -> None:
    parameters = [held("a", (0,)), held("b", ()), held("c", (0,))]
    assert list(memory_profile(parameters, arrivals("a", "b", "c"), {0})) == [
        MemoryStep(arrived_bytes=8, held_bytes=9, left_bytes=()),
        MemoryStep(arrived_bytes=8, held_bytes=17, left_bytes=()),
        MemoryStep(arrived_bytes=8, held_bytes=26, left_bytes=(8, 8, 8)),
    ]


def test_shared_tensor_counts_once_until_its_last_user_has_finished() -> None:
    users = [
        Footprint(sources=(name, "shared"), stages=(), source_bytes=16, mask_bytes=0, result_bytes=8, made_bytes=0)
        for name in ("a", "b")
    ]
    assert list(memory_profile([*users, held("c", ())], arrivals("shared", "a", "b", "c"), set())) == [
        MemoryStep(arrived_bytes=16, held_bytes=16, left_bytes=(8,)),
        MemoryStep(arrived_bytes=8, held_bytes=16, left_bytes=(8,)),
        MemoryStep(arrived_bytes=8, held_bytes=8, left_bytes=(8,)),
    ]


def test_shared_tensor_that_comes_last_completes_all_its_users() -> None:
    users = [
        Footprint(sources=(name, "shared"), stages=(), source_bytes=16, mask_bytes=0, result_bytes=8, made_bytes=0)
        for name in ("a", "b")
    ]
    assert list(memory_profile(users, arrivals("a", "b", "shared"), set())) == [
        MemoryStep(arrived_bytes=24, held_bytes=24, left_bytes=(8,)),
        MemoryStep(arrived_bytes=0, held_bytes=16, left_bytes=(8,)),
    ]
