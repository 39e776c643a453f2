"""Refit with the Gram matrix of the gradients of a layer's outputs, as a rule."""

from collections.abc import Callable

import pytest
import torch

from pruning_engine import CheckpointError, MismatchError, Reason
from pruning_engine.recipe import Fraction, Magnitude, Refit, Rule
from tests.engine.calibrated import Tensors, gram, inputs, prune

ROWS, COLUMNS = 6, 16
X, GRADIENTS = inputs(COLUMNS), 1e-3 * inputs(ROWS, 40, seed=1)
H, G = gram(X), gram(GRADIENTS)
RULE = Rule(score=Magnitude(), amount=Fraction(0.5), input_dim=1, update=Refit())


def file(dtype: torch.dtype = torch.float32, output_gram: torch.Tensor | None = G) -> Tensors:
    torch.manual_seed(3)
    weight = torch.randn(ROWS, COLUMNS).to(dtype)
    gradients = {} if output_gram is None else {"fc.weight:out_gram": output_gram}
    return {"fc.weight": weight, "fc.weight:in_gram": H} | gradients


def loss(before: torch.Tensor, after: torch.Tensor) -> float:
    """Return tr(G D H D^T)."""
    change = before.double() - after.double()
    return float((G @ change @ H * change).sum())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_loss_is_lower_than_by_a_refit_of_outputs(dtype: torch.dtype) -> None:
    before = file(dtype)["fc.weight"]
    to_loss, to_outputs = (prune(file(dtype, g), RULE).tensors["fc.weight"] for g in (G, None))
    assert torch.equal(to_loss == 0, to_outputs == 0)
    assert loss(before, to_loss) < 0.9 * loss(before, to_outputs)


def test_inputs_stored_first_have_their_outputs_last() -> None:
    stored = file()
    transposed = stored | {"fc.weight": stored["fc.weight"].T.contiguous()}
    rule = Rule(score=Magnitude(), amount=Fraction(0.5), input_dim=0, update=Refit())
    found = prune(transposed, rule).tensors["fc.weight"].T
    torch.testing.assert_close(found, prune(stored, RULE).tensors["fc.weight"], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "change",
    [lambda g: g.fill_diagonal_(-1), lambda g: g * torch.nan, lambda g: g + torch.arange(ROWS) * g.max()],
    ids=["negative diagonal", "NaN", "not symmetric"],
)
def test_matrices_that_are_no_gram_are_refused(change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    with pytest.raises(CheckpointError, match=r"fc\.weight:out_gram") as refused:
        prune(file(output_gram=change(G.clone())), RULE)
    assert refused.value.reason is Reason.INVALID_AUXILIARY


def test_gradients_of_other_outputs_are_refused() -> None:
    with pytest.raises(MismatchError, match=r"fc\.weight:out_gram"):
        prune(file(output_gram=torch.eye(ROWS + 1)), RULE)
