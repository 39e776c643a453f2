"""Scores, scopes, blocks, allocations and bounds over the wire, against plain computations in numpy."""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load, save

from pruning_proto.v1 import pruning_pb2 as pb
from tests.servers import ServerProcess
from tests.service import raw

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

RANDOM = np.random.default_rng(21)
WEIGHTS: dict[str, Array] = {
    "a.weight": RANDOM.standard_normal((6, 16)),
    "b.weight": RANDOM.standard_normal((8, 12)) * 3,
    "c.weight": RANDOM.standard_normal((4, 4)),
}
NORMS: dict[str, Array] = {name: RANDOM.random((weight.shape[1],)) * 9 for name, weight in WEIGHTS.items()}
SUMS = {f"{name}:in_sum2": norms**2 for name, norms in NORMS.items()}
HALF = pb.Amount(sparsity=0.5)
MAGNITUDE = pb.Score(magnitude=pb.Magnitude())
WANDA = pb.Score(weighted_magnitude=pb.WeightedMagnitude())
RIA = pb.Score(ria=pb.RelativeImportance())
LAMP = pb.Score(lamp=pb.Lamp())
BLOCKS = pb.Granularity(blocks=pb.Blocks(rows=2, columns=4))


def relative(name: str) -> Array:
    magnitudes = np.abs(WEIGHTS[name])
    found: Array = magnitudes / magnitudes.sum(axis=0) + magnitudes / magnitudes.sum(axis=1, keepdims=True)
    return found * np.sqrt(NORMS[name])


def lamp(name: str) -> Array:
    squares = WEIGHTS[name].reshape(-1) ** 2
    return np.array([square / squares[squares >= square].sum() for square in squares]).reshape(WEIGHTS[name].shape)


def least(scores: Array, count: int) -> Flags:
    """Mark all but the `count` least."""
    kept = np.ones(scores.size, bool)
    kept[np.argsort(scores, axis=None, kind="stable")[:count]] = False
    return kept.reshape(scores.shape)


def by_rows(score: Callable[[str], Array]) -> dict[str, Flags]:
    return {
        name: np.stack([least(row, round(weight.shape[1] / 2)) for row in score(name)])
        for name, weight in WEIGHTS.items()
    }


def by_tensors(score: Callable[[str], Array], counts: Mapping[str, int] | None = None) -> dict[str, Flags]:
    counts = counts or {name: round(weight.size / 2) for name, weight in WEIGHTS.items()}
    return {name: least(score(name), counts[name]) for name in WEIGHTS}


def together(score: Callable[[str], Array]) -> dict[str, Flags]:
    kept = least(np.concatenate([score(name).reshape(-1) for name in WEIGHTS]), 208 // 2)
    parts = np.split(kept, np.cumsum([weight.size for weight in WEIGHTS.values()])[:-1])
    return {name: part.reshape(WEIGHTS[name].shape) for name, part in zip(WEIGHTS, parts, strict=True)}


def in_blocks(score: Callable[[str], Array]) -> dict[str, Flags]:
    found = {}
    for name, weight in WEIGHTS.items():
        rows, columns = weight.shape
        sums = score(name).reshape(rows // 2, 2, columns // 4, 4).sum(axis=(1, 3))
        kept = least(sums, round(sums.size / 2))
        found[name] = np.repeat(np.repeat(kept, 2, axis=0), 4, axis=1)
    return found


def erk_counts() -> dict[str, int]:
    raw_densities = {name: sum(weight.shape) / weight.size for name, weight in WEIGHTS.items()}
    scale = 104 / sum(raw_densities[name] * weight.size for name, weight in WEIGHTS.items())
    assert max(raw_densities.values()) * scale > 1  # the smallest tensor is dense
    rest = {name: density for name, density in raw_densities.items() if name != "c.weight"}
    scale = (104 - 16) / sum(density * WEIGHTS[name].size for name, density in rest.items())
    return {"c.weight": 0} | {name: round((1 - scale * density) * WEIGHTS[name].size) for name, density in rest.items()}


def magnitude(name: str) -> Array:
    found: Array = np.abs(WEIGHTS[name])
    return found


def product(name: str) -> Array:
    found: Array = np.abs(WEIGHTS[name]) * NORMS[name]
    return found


CASES = {
    "RIA": (pb.Rule(score=RIA, input_dim=1, amount=HALF), by_rows(relative)),
    "RIA in a tensor": (pb.Rule(score=RIA, input_dim=1, amount=HALF, scope=pb.SCOPE_LOCAL), by_tensors(relative)),
    "Wanda by sums": (pb.Rule(score=WANDA, input_dim=1, amount=HALF), by_rows(product)),
    "Wanda together": (pb.Rule(score=WANDA, input_dim=1, amount=HALF, scope=pb.SCOPE_GLOBAL), together(product)),
    "magnitude by rows": (
        pb.Rule(score=MAGNITUDE, amount=HALF, scope=pb.SCOPE_OUTPUT_CHANNEL, input_dim=1),
        by_rows(magnitude),
    ),
    "LAMP": (pb.Rule(score=LAMP, amount=HALF), together(lamp)),
    "blocks": (pb.Rule(score=MAGNITUDE, amount=HALF, granularity=BLOCKS), in_blocks(magnitude)),
    "blocks by RIA": (pb.Rule(score=RIA, input_dim=1, amount=HALF, granularity=BLOCKS), in_blocks(relative)),
    "ERK": (
        pb.Rule(score=MAGNITUDE, amount=HALF, allocation=pb.Allocation(erk=pb.ErdosRenyiKernel())),
        by_tensors(magnitude, erk_counts()),
    ),
}


def sent(rule: pb.Rule) -> bytes:
    uses_norms = rule.score.WhichOneof("kind") in ("weighted_magnitude", "ria")
    return save({**WEIGHTS, **(SUMS if uses_norms else {})})


@pytest.mark.parametrize(("rule", "masks"), CASES.values(), ids=CASES)
def test_the_result_is_that_of_the_formula(server: ServerProcess, rule: pb.Rule, masks: dict[str, Flags]) -> None:
    found = load(raw.prune(server.address, sent(rule), rules=[rule]).data)
    assert found.keys() == WEIGHTS.keys()
    for name, mask in masks.items():
        np.testing.assert_array_equal(found[name], np.where(mask, WEIGHTS[name], 0.0))


@pytest.mark.parametrize("output", [pb.OUTPUT_FORM_MASKED, pb.OUTPUT_FORM_MASK, pb.OUTPUT_FORM_PACKED])
def test_other_formats_have_the_same_masks(server: ServerProcess, output: "pb.OutputForm") -> None:
    for rule, masks in CASES.values():
        report = raw.prune(server.address, sent(rule), rules=[rule], output=output).report
        assert {each.name: each.pruned for each in report.tensors} == {
            name: int((~mask).sum()) for name, mask in masks.items()
        }


def test_owl_and_bounds_keep_the_total(server: ServerProcess) -> None:
    owl = pb.Allocation(owl=pb.Owl(outlier_factor=2.0, max_difference=0.2))
    bounds = pb.Bounds(min_sparsity=0.4, max_sparsity=0.6)
    for rule in (
        pb.Rule(score=MAGNITUDE, amount=HALF, allocation=owl, bounds=bounds),
        pb.Rule(score=MAGNITUDE, amount=HALF, scope=pb.SCOPE_GLOBAL, bounds=bounds),
    ):
        report = raw.prune(server.address, sent(rule), rules=[rule]).report
        assert abs(report.totals.pruned - 104) <= 2
        assert all(0.4 <= each.pruned / each.entries <= 0.6 for each in report.tensors)
