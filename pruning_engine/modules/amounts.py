"""Amounts and dims of torch's interface: what they mean, and what is refused.

An int is a number of entries or channels, a float a part of them. The state-dict interface says the same with
`recipe.Count` and `recipe.Fraction`.
"""

import re
from numbers import Integral, Real

import torch
from torch.nn.utils import prune as torch_prune

from pruning_engine.errors import MismatchError, Reason, RecipeError
from pruning_engine.modules.errors import AmountTypeError, CallError, DimError

_CHANNEL_DIMS = 2


def validate_pruning_amount_init(amount: object) -> None:
    """Refuse an amount that is invalid for any tensor.

    Raises: AmountTypeError (a TypeError) if it is not a number; RecipeError (a ValueError) out of range or for NaN.
    """
    if not isinstance(amount, Real):
        raise AmountTypeError(
            Reason.AMOUNT_OUT_OF_RANGE,
            f"amount={_shown(amount)} is not a number; give an int (how many) or a float from 0.0 to 1.0 (which part)"
            f"{_meant(amount)}",
            field="amount",
        )
    fits = int(amount) >= 0 if isinstance(amount, Integral) else 0.0 <= float(amount) <= 1.0  # NaN is not
    if not fits:
        raise RecipeError(
            Reason.AMOUNT_OUT_OF_RANGE,
            f"amount={amount} is out of range; give an int of 0 or more (how many), "
            f"or a float from 0.0 to 1.0 (which part){_meant(amount)}",
            field="amount",
        )


def _shown(amount: object) -> str:
    """Return an amount as a message shows it: tensors and modules are named by their type."""
    if isinstance(amount, torch.Tensor | torch.nn.Module):
        return f"a {type(amount).__name__}"
    return repr(amount) if isinstance(amount, str) else f"{amount!r:.80}"


def _meant(amount: object) -> str:
    """Return what was probably meant by an invalid amount, as the end of a message."""
    if isinstance(amount, (torch_prune.BasePruningMethod, type)):
        return "; a method is not an amount: the function that is called is the method already"
    percent = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%?\s*", str(amount)) if isinstance(amount, str | float) else None
    if percent is None:
        return ""
    number = float(percent[1])
    part = number if isinstance(amount, str) and "%" not in amount and number <= 1 else number / 100
    return f"; {part:g} is {100 * part:g} percent" if 0 <= part <= 1 else ""


def validate_pruning_amount(amount: float, tensor_size: int) -> None:
    """Refuse an int above the number of candidates. Raises: MismatchError (a ValueError)."""
    if isinstance(amount, Integral) and int(amount) > tensor_size:
        raise MismatchError(
            Reason.COUNT_TOO_LARGE,
            f"amount={amount} should fall, but only {tensor_size} are still unpruned; "
            f"ask for at most that, or for a part of it",
            field="amount",
        )


def compute_nparams_toprune(amount: float, tensor_size: int) -> int:
    """Return the number of entries or channels that an amount means, out of `tensor_size`; halves round to even."""
    return int(amount) if isinstance(amount, Integral) else round(amount * tensor_size)


def count_to_prune(amount: float, candidates: int) -> int:
    """Return how many of the candidates to prune. Raises: MismatchError if the amount is more."""
    count = compute_nparams_toprune(amount, candidates)
    validate_pruning_amount(count, candidates)
    return count


def validate_structured_pruning(t: torch.Tensor) -> None:
    """Refuse a tensor that has no channels. Raises: MismatchError (a ValueError)."""
    if t.dim() < _CHANNEL_DIMS:
        raise MismatchError(
            Reason.DIM_OUT_OF_RANGE,
            f"channels need a tensor of 2 dims or more; this one has shape {list(t.shape)}",
            field="dim",
        )


def validate_pruning_dim(t: torch.Tensor, dim: int) -> None:
    """Refuse a dim that the tensor does not have.

    Raises: DimError (an IndexError); CallError (a TypeError) if it is not an integer.
    """
    if not isinstance(dim, Integral):
        raise CallError(
            Reason.DIM_OUT_OF_RANGE, f"dim={dim!r} is not an integer; a layer's outputs are dim=0", field="dim"
        )
    if not -t.dim() <= dim < t.dim():
        raise DimError(
            Reason.DIM_OUT_OF_RANGE,
            f"dim={dim} is out of range; a tensor of shape {list(t.shape)} has dims {-t.dim()} to {t.dim() - 1}",
            field="dim",
        )
