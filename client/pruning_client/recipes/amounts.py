"""How much a rule prunes: a fraction or a count of what is unpruned, the sparsity to reach, or how much is kept."""

from numbers import Integral, Real
from typing import Final, TypeAlias

from pruning_client.errors import recipe_error
from pruning_client.recipes.value import Value
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb

_LARGEST_COUNT: Final = 2**64 - 1


class Amount(Value[pb.Amount]):
    """How much a rule prunes, as `sparsity` or `kept` returns it. Prints as the call that makes it.

    Example:
        >>> rules.sparsity(0.9)
        sparsity(0.9)
    """

    __slots__ = ()
    _message_type = pb.Amount

    def __repr__(self) -> str:
        message = self.to_message()
        kind = message.WhichOneof("kind")
        number = repr(getattr(message, kind)) if kind else "None"
        return number if kind in ("fraction", "count", None) else f"{kind}({number})"


AmountLike: TypeAlias = float | int | Amount
"""As in torch: a float is a part of what is still unpruned, an int a number of weights; or what `sparsity` or
`kept` returns."""


def amount_of(amount: AmountLike) -> pb.Amount:
    """Return the amount that a caller gives. Raises: RecipeError if it is out of range."""
    if isinstance(amount, Amount):
        return amount.to_message()
    if isinstance(amount, Integral):  # True too, which is 1: torch's meaning
        if not 0 <= amount <= _LARGEST_COUNT:
            description = f"a count is 0 to 2^64 - 1, got {int(amount)}"
            raise recipe_error(Reason.AMOUNT_OUT_OF_RANGE, "amount.count", description)
        return pb.Amount(count=int(amount))
    return pb.Amount(fraction=_part(amount, "fraction"))


def sparsity(value: float) -> Amount:
    """Return an amount: prune until this part of all weights is pruned, those that were pruned before included.

    Units: a part of all weights, 0.0 to 1.0.
    Raises: RecipeError if it is out of range.
    Example:
        >>> rules.l1_unstructured(rules.sparsity(0.9), scope="global")
        l1_unstructured(sparsity(0.9), scope='global')
    """
    return Amount.from_message(pb.Amount(sparsity=_part(value, "sparsity")))


def kept(count: int) -> Amount:
    """Return an amount: prune until this many units of each group are left; in global scope, of all groups together.

    For rules over units only.
    Units: coupled channels, experts, layers or tokens; 1 or more.
    Raises: RecipeError if it is out of range.
    Example:
        >>> rules.remove_units(rules.kept(32), map="ffn")
        remove_units(kept(32), map='ffn')
    """
    if isinstance(count, bool) or not isinstance(count, Integral) or not 1 <= count <= _LARGEST_COUNT:
        description = f"the number of units that are kept is 1 to 2^64 - 1, got {count!r}"
        raise recipe_error(Reason.AMOUNT_OUT_OF_RANGE, "amount.kept", description)
    return Amount.from_message(pb.Amount(kept=int(count)))


def _part(value: float, kind: str) -> float:
    if not isinstance(value, Real) or not 0.0 <= value <= 1.0:  # NaN too fails the comparison
        raise recipe_error(Reason.AMOUNT_OUT_OF_RANGE, f"amount.{kind}", f"a {kind} is 0.0 to 1.0, got {value!r}")
    return float(value)
