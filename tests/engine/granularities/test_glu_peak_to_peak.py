"""The range of the weights of gate and up projections as a score of channels."""

import pytest
import torch

from pruning_engine import CheckpointError, MismatchError
from pruning_engine.recipe import (
    ChannelSlice,
    Count,
    Fraction,
    GluPeakToPeak,
    Magnitude,
    Random,
    Rule,
    Scope,
    Score,
    Units,
)
from pruning_engine.report import WarningKind
from tests.engine.calibrated import Pruned, Tensors, prune
from tests.engine.tied import group

UNITS = 8
GATED = group("gate_proj.weight:0", "up_proj.weight:0", "down_proj.weight:1")


def rule(*groups: object, scope: Scope = Scope.LOCAL, name: str = "") -> Rule:
    units = Units(groups=groups, map=name)  # type: ignore[arg-type]
    return Rule(score=GluPeakToPeak(), amount=Fraction(0.5), granularity=units, scope=scope)


def gated(*, seed: int = 1, scale: float = 1.0) -> Tensors:
    torch.manual_seed(seed)
    rows = {f"{name}.weight": torch.randn(UNITS, 6) * scale for name in ("gate_proj", "up_proj")}
    return rows | {"down_proj.weight": torch.randn(5, UNITS)}


def ranges(weight: torch.Tensor) -> torch.Tensor:
    rows = weight.double()
    return rows.amax(dim=1) + rows.amin(dim=1).abs()


def kept(found: Pruned, at: int = 0) -> list[int]:
    return list(found.report.groups[at].kept)


def largest(scores: torch.Tensor) -> list[int]:
    return sorted(scores.argsort(descending=True)[: len(scores) // 2].tolist())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_units_of_largest_ranges_are_kept(dtype: torch.dtype) -> None:
    model = {name: tensor.to(dtype) for name, tensor in gated().items()}
    scores = ranges(model["gate_proj.weight"]) + ranges(model["up_proj.weight"])

    found = prune(model, rule(GATED))

    assert kept(found) == largest(scores)
    assert found.report.tensors[0].threshold == pytest.approx(float(scores.sort().values[3]))
    assert found.report.reproducible


def test_rows_that_are_all_positive_count_their_minimum_too() -> None:
    model = gated()
    model["gate_proj.weight"] = model["gate_proj.weight"].abs() + 1
    scores = ranges(model["gate_proj.weight"]) + ranges(model["up_proj.weight"])

    assert kept(prune(model, rule(GATED))) == largest(scores)


@pytest.mark.parametrize("name", ["fused", "of a map"])
def test_gate_and_up_in_one_weight(name: str) -> None:
    model = gated()
    scores = ranges(model["gate_proj.weight"]) + ranges(model["up_proj.weight"])
    fused = torch.cat([model.pop("gate_proj.weight"), model.pop("up_proj.weight")])
    model = {"mlp.gate_up_proj.weight": fused, "mlp.down_proj.weight": model["down_proj.weight"]}
    ties = ChannelSlice("mlp.gate_up_proj.weight", outer=2), ChannelSlice("mlp.down_proj.weight", dim=1)

    found = prune(model, rule(group(*ties)) if name == "fused" else rule(name="llama_mlp"))

    assert kept(found) == largest(scores)


def test_pruned_entries_count_as_zero() -> None:
    model = gated()
    weight, keep = model.pop("gate_proj.weight"), torch.rand(UNITS, 6) > 0.5
    scores = ranges(weight * keep) + ranges(model["up_proj.weight"])

    found = prune({"gate_proj.weight_orig": weight, "gate_proj.weight_mask": keep} | model, rule(GATED))

    assert kept(found) == largest(scores)


def test_groups_compete_by_what_is_relative_to_their_mean() -> None:
    model = {f"a.{name}": tensor for name, tensor in gated(seed=3).items()}
    model |= {f"b.{name}": tensor for name, tensor in gated(seed=3, scale=100.0).items()}
    each = group("gate_proj.weight:0", "up_proj.weight:0", "down_proj.weight:1", for_each="*")

    found = prune(model, rule(each, scope=Scope.GLOBAL))

    assert kept(found, 0) == kept(found, 1)
    assert len(kept(found, 0)) == UNITS // 2


def test_earlier_rules_do_not_change_the_ranges() -> None:
    model = gated()
    scores = ranges(model["gate_proj.weight"]) + ranges(model["up_proj.weight"])
    entries = Rule(score=rule(GATED).score.__class__(), amount=Count(2), granularity=Units(groups=(GATED,)))

    found = prune(model, entries, rule(GATED))

    assert set(kept(found, 0)) == set(scores.argsort(descending=True)[:6].tolist())
    assert set(kept(found, 1)) < set(kept(found, 0))


def test_units_without_a_gate_are_refused() -> None:
    model = {"fc1.weight": torch.randn(UNITS, 3), "fc2.weight": torch.randn(3, UNITS)}
    with pytest.raises(MismatchError, match="one row of a gate projection") as caught:
        prune(model, rule(group("fc1.weight:0", "fc2.weight:1")))
    assert caught.value.field == "rules[0].score.glu_peak_to_peak"


def test_nan_is_refused() -> None:
    model = gated()
    model["up_proj.weight"][2, 3] = float("nan")
    with pytest.raises(CheckpointError, match=r"'up_proj\.weight' holds NaN"):
        prune(model, rule(GATED))


@pytest.mark.parametrize(
    ("score", "name", "is_warned"),
    [
        pytest.param(GluPeakToPeak(), "llama_mlp", True, id="glu"),
        pytest.param(Magnitude(), "llama_mlp", True, id="norm"),
        pytest.param(Random(), "llama_mlp", False, id="random"),
        pytest.param(Magnitude(), "", False, id="own groups"),
    ],
)
def test_ranking_transformers_by_weights_alone_is_warned_about(score: Score, name: str, is_warned: bool) -> None:
    model = {f"mlp.{key}": value for key, value in gated().items()}
    own = group("mlp.gate_proj.weight:0", "mlp.up_proj.weight:0", "mlp.down_proj.weight:1")
    units = Units(map=name) if name else Units(groups=(own,))

    found = prune(model, Rule(score=score, amount=Fraction(0.5), granularity=units))

    kinds = [warning.kind for warning in found.report.warnings]
    assert kinds == ([WarningKind.UNITS_BY_WEIGHTS] if is_warned else [])
