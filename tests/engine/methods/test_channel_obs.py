"""Orders of input channels against least squares in fp64, solved anew for each choice of channels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pruning_engine.methods.channel_obs import Consumer, UnitCosts, greedy_unit_costs, unit_costs
from pruning_engine.methods.gram import Gram

Floats = npt.NDArray[Any]

DAMPING = 0.01


def inputs(channels: int, seed: int, tokens: int = 64) -> Floats:
    """Return inputs that depend on each other: (tokens, channels)."""
    random = np.random.default_rng(seed)
    return random.normal(size=(tokens, channels)) @ random.normal(size=(channels, channels))


def consumer(units: int, each: int, seed: int, *, more: int = 0) -> Consumer:
    """Return a layer of 5 outputs and shuffled units; `more` channels belong to no unit."""
    random = np.random.default_rng(seed + 100)
    channels = units * each + more
    places = random.permutation(channels)[: units * each].reshape(units, each)
    gram = Gram.of_matrix((x := inputs(channels, seed)).T @ x)
    return Consumer(weight=random.normal(size=(5, channels)), units=places, gram=gram)


def loss(one: Consumer, gone: Sequence[int]) -> float:
    """Return the damped loss without some units, the remaining weights solved for."""
    weight, channels = one.weight, one.gram.matrix.shape[0]
    damped = one.gram.matrix + DAMPING * one.gram.scale * np.eye(channels)
    left = np.setdiff1d(np.arange(channels), one.units[list(gone)].reshape(-1))
    new = np.zeros_like(weight)
    new[:, left] = np.linalg.solve(damped[np.ix_(left, left)], damped[left] @ weight.T).T
    return float(np.trace((weight - new) @ damped @ (weight - new).T))


def searched(consumers: Sequence[Consumer], units: int, gone: Sequence[int] = ()) -> tuple[list[int], Floats]:
    """Return the greedy order, and what each unit cost, by trying every unit each time."""
    order: list[int] = []
    costs = np.zeros(units)
    while len(order) < units:
        rest = [gone[len(order)]] if len(order) < len(gone) else [unit for unit in range(units) if unit not in order]
        now = sum(loss(one, order) for one in consumers)
        added = [sum(loss(one, [*order, unit]) for one in consumers) - now for unit in rest]
        best = int(np.argmin(added))
        costs[rest[best]] = added[best]
        order.append(rest[best])
    return order, costs


LAYERS = pytest.mark.parametrize(
    "consumers",
    [
        pytest.param([consumer(12, 1, 1)], id="channels"),
        pytest.param([consumer(8, 3, 2)], id="heads"),
        pytest.param([consumer(9, 1, 3, more=4)], id="other channels remain"),
        pytest.param([consumer(7, 2, 4), consumer(7, 2, 5)], id="two consumers"),
        pytest.param([consumer(1, 4, 6)], id="one unit"),
    ],
)


@LAYERS
def test_greedy_order_is_the_searched_one(consumers: list[Consumer]) -> None:
    units = len(consumers[0].units)

    found = greedy_unit_costs(consumers, damping=DAMPING)

    order, costs = searched(consumers, units)
    assert found.order.tolist() == order
    np.testing.assert_allclose(found.costs, costs, rtol=1e-6)


def test_all_units_cost_all_of_the_energy() -> None:
    one = consumer(12, 2, 12)

    found = greedy_unit_costs([one], damping=DAMPING)

    assert found.costs.sum() == pytest.approx(one.energy(DAMPING))


@LAYERS
def test_single_costs_are_the_searched_ones(consumers: list[Consumer]) -> None:
    found = unit_costs(consumers, damping=DAMPING)

    alone = [sum(loss(one, [unit]) for one in consumers) for unit in range(len(consumers[0].units))]
    np.testing.assert_allclose(found.costs, alone, rtol=1e-6)
    assert found.order.tolist() == np.argsort(alone).tolist()


def test_units_that_are_gone_come_first() -> None:
    one = consumer(10, 1, 7)

    found = greedy_unit_costs([one], damping=DAMPING, gone=np.isin(np.arange(10), [3, 8]))

    order, costs = searched([one], 10, gone=[3, 8])
    assert found.order.tolist() == order
    np.testing.assert_allclose(found.costs, costs, rtol=1e-6)


@pytest.mark.parametrize(("units", "each"), [(500, 1), (90, 7)], ids=["channels", "units of several"])
def test_lots_are_as_good_as_single_removals(units: int, each: int, monkeypatch: pytest.MonkeyPatch) -> None:
    one, half = consumer(units, each, 8), units // 2
    in_lots = greedy_unit_costs([one], damping=DAMPING, most=half)

    monkeypatch.setattr("pruning_engine.methods.channel_obs.LOT_CHANNELS", 10_000)
    exact = greedy_unit_costs([one], damping=DAMPING, most=half)

    assert loss(one, in_lots.order[:half].tolist()) == pytest.approx(in_lots.costs[in_lots.order[:half]].sum())
    assert loss(one, in_lots.order[:half].tolist()) < 1.01 * loss(one, exact.order[:half].tolist())


def test_of_many_equal_inputs_one_remains() -> None:
    x = inputs(400, 14, tokens=800)
    x[:, 1::2] = x[:, ::2]  # each input twice
    gram = Gram.of_matrix(x.T @ x)
    one = Consumer(weight=np.random.default_rng(0).normal(size=(5, 400)), units=np.arange(400)[:, None], gram=gram)

    order = greedy_unit_costs([one], damping=1e-6, most=200).order

    assert sorted(order[:200] // 2) == list(range(200))


def test_units_beyond_the_most_follow_by_their_own_costs() -> None:
    one = consumer(12, 1, 15)

    found = greedy_unit_costs([one], damping=DAMPING, most=4)

    first, _ = searched([one], 12)
    assert found.order[:4].tolist() == first[:4]
    rest = [unit for unit in range(12) if unit not in first[:4]]
    alone = [loss(one, [*first[:4], unit]) - loss(one, first[:4]) for unit in rest]
    assert found.order[4:].tolist() == [rest[place] for place in np.argsort(alone)]
    np.testing.assert_allclose(found.costs[rest], alone, rtol=1e-6)


def test_single_precision_finds_the_same_half() -> None:
    one = consumer(400, 1, 9)
    single = Consumer(
        weight=one.weight.astype(np.float32), units=one.units, gram=Gram.of_matrix(one.gram.matrix.astype(np.float32))
    )

    double, half = greedy_unit_costs([one]), greedy_unit_costs([single])

    assert len(set(double.order[:200].tolist()) & set(half.order[:200].tolist())) > 195


def test_inputs_that_were_always_zero_are_removed_first() -> None:
    matrix = np.diag([4.0, 0.0, 9.0, 0.0])

    found = greedy_unit_costs(
        [Consumer(weight=np.ones((2, 4)), units=np.arange(4)[:, None], gram=Gram.of_matrix(matrix))]
    )

    assert found.order.tolist() == [1, 3, 0, 2]


def test_one_of_two_equal_inputs_costs_little() -> None:
    x = inputs(5, 10)
    x[:, 4] = x[:, 1]
    one = Consumer(weight=np.ones((3, 5)), units=np.arange(5)[:, None], gram=Gram.of_matrix(x.T @ x))

    found = greedy_unit_costs([one])

    assert found.order[0] in {1, 4}
    assert found.costs[found.order[0]] < 0.05 * one.energy(DAMPING)


def test_fewer_tokens_than_inputs_leave_finite_costs() -> None:
    x = inputs(300, 13, tokens=20).astype(np.float32)
    one = Consumer(weight=np.ones((3, 300), np.float32), units=np.arange(300)[:, None], gram=Gram.of_matrix(x.T @ x))

    found = greedy_unit_costs([one])

    assert sorted(found.order.tolist()) == list(range(300))
    assert np.isfinite(found.costs).all()
    assert found.costs.sum() == pytest.approx(one.energy(DAMPING), rel=0.01)


def test_without_any_input_weights_decide() -> None:
    weight = np.array([[3.0, 1.0, 2.0]])

    found = greedy_unit_costs(
        [Consumer(weight=weight, units=np.arange(3)[:, None], gram=Gram.of_matrix(np.zeros((3, 3))))]
    )

    assert found.order.tolist() == [1, 2, 0]


def test_equal_units_are_removed_in_order() -> None:
    one = Consumer(weight=np.ones((2, 4)), units=np.arange(4)[:, None], gram=Gram.of_matrix(np.eye(4)))

    assert greedy_unit_costs([one]).order.tolist() == [0, 1, 2, 3]
    assert unit_costs([one]).order.tolist() == [0, 1, 2, 3]


def test_inputs_are_left_untouched() -> None:
    one = consumer(200, 1, 11)
    weight, matrix = one.weight.copy(), one.gram.matrix.copy()

    result: UnitCosts = greedy_unit_costs([one])

    assert len(result.order) == 200
    np.testing.assert_array_equal(one.weight, weight)
    np.testing.assert_array_equal(one.gram.matrix, matrix)
