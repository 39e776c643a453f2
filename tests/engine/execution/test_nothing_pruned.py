"""A fraction that rounds to nothing everywhere is told; what has nothing left to prune is not."""

import pytest
import torch

from pruning_engine import prune_state_dict
from pruning_engine.recipe import Amount, Count, Fraction, Rule
from pruning_engine.report import WarningKind
from tests.engine.rules import l1, ln, recipe

WEIGHTS = {"a.weight": torch.arange(1.0, 17).reshape(4, 4), "b.weight": torch.ones(2, 2)}


@pytest.mark.parametrize("rule", [l1(Fraction(0.01)), ln(2, amount=Fraction(0.1))], ids=["weights", "channels"])
def test_fraction_of_nothing_is_told(rule: Rule) -> None:
    (warning,) = prune_state_dict(WEIGHTS, recipe(rule)).report.warnings
    assert warning.kind is WarningKind.NOTHING_PRUNED
    assert "rounds to no weight or channel" in warning.message


@pytest.mark.parametrize("amount", [Fraction(0.05), Fraction(0.0), Count(0)], ids=["some", "none asked for", "count"])
def test_what_was_asked_for_is_not_told(amount: Amount) -> None:
    assert prune_state_dict(WEIGHTS, recipe(l1(amount))).report.warnings == ()


def test_model_with_nothing_left_is_not_told() -> None:
    masks = {
        f"{name}:mask_bits": torch.zeros(-(-each.numel() // 8), dtype=torch.uint8) for name, each in WEIGHTS.items()
    }
    report = prune_state_dict(WEIGHTS | masks, recipe(l1(Fraction(0.5)))).report
    assert WarningKind.NOTHING_PRUNED not in {warning.kind for warning in report.warnings}
