"""Channels of weight-normed layers that lose their last weight are told: torch computes 0 / 0 for them."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from pruning_engine import prune_state_dict
from pruning_engine.recipe import Fraction, OutputForm
from pruning_engine.report import WarningKind
from tests.engine.rules import l1, recipe

V = "parametrizations.weight.original1"


def layer(*lengths: float) -> Any:
    """Return a layer whose channels have weights of these sizes."""
    module = parametrizations.weight_norm(nn.Linear(4, len(lengths)))
    with torch.no_grad():
        module.parametrizations.weight.original1.copy_(torch.tensor(lengths)[:, None] * torch.arange(1, 5))
    return module


@pytest.mark.parametrize("output", [OutputForm.PRUNED, OutputForm.MASK])
def test_channels_without_weights_are_told(output: OutputForm) -> None:
    report = prune_state_dict(layer(9, 0.1, 9, 0.1).state_dict(), recipe(l1(Fraction(0.5))), output=output).report
    (warning,) = report.warnings
    assert (warning.kind, warning.tensor) == (WarningKind.WEIGHT_NORM, V)
    assert "2 of its channels are all zero" in warning.message


def test_told_channels_are_those_that_are_nan() -> None:
    module = layer(9, 0.1, 9, 0.1)
    result = prune_state_dict(module.state_dict(), recipe(l1(Fraction(0.5))))
    module.load_state_dict(result.state_dict)
    (reported,) = (each for each in result.report.tensors if each.name == V)
    assert int(module.weight.isnan().all(dim=1).sum()) == reported.zero_lengths == 2


def test_channels_that_keep_a_weight_are_not_mentioned() -> None:
    assert prune_state_dict(layer(1, 1, 1, 1).state_dict(), recipe(l1(Fraction(0.5)))).report.warnings == ()
