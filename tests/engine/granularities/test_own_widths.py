"""Groups that compete, with widths of their own or with the same."""

import pytest
import torch

from pruning_engine import RecipeError
from pruning_engine.recipe import Fraction, Magnitude, Rule, Scope, Units
from pruning_engine.report import WarningKind
from tests.engine.calibrated import Tensors, prune


def two_layers() -> Tensors:
    """Return two MLPs with a gate, of which the second has much larger weights."""
    torch.manual_seed(0)
    return {
        f"layers.{at}.mlp.{name}.weight": torch.randn(*((4, 8) if name == "down_proj" else (8, 4))) * 10**at
        for at in range(2)
        for name in ("gate_proj", "up_proj", "down_proj")
    }


def rule(units: Units, scope: Scope = Scope.GLOBAL) -> Rule:
    return Rule(score=Magnitude(), amount=Fraction(0.5), granularity=units, scope=scope)


@pytest.mark.parametrize(("own", "kept"), [(False, [7, 7]), (True, [1, 7])], ids=["one field", "own widths"])
def test_layers_that_compete(own: bool, kept: list[int]) -> None:
    units = Units(map="llama_mlp", own_widths=own)

    found = prune(two_layers(), rule(units))

    assert [len(each.kept) for each in found.report.groups] == kept
    assert (WarningKind.SAME_WIDTH in [each.kind for each in found.report.warnings]) is not own


def test_layers_that_do_not_compete_are_not_warned_about() -> None:
    found = prune(two_layers(), rule(Units(map="llama_mlp"), Scope.LOCAL))

    assert WarningKind.SAME_WIDTH not in [each.kind for each in found.report.warnings]


def test_same_width_and_own_widths_are_refused() -> None:
    with pytest.raises(RecipeError) as caught:
        prune(two_layers(), rule(Units(map="llama_mlp", same_width=True, own_widths=True)))
    assert caught.value.field == "rules[0].granularity.units.own_widths"
