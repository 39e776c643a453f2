"""What was done to one tensor, as the server reports it: frozen values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """The predicted error of a tensor where the rule at position `rule` prunes a part of its entries, `sparsity`.

    `predicted_error`: ||(W - W') X|| / ||W X||. It `is_weak` without statistics: it is then ||W - W'|| / ||W||.
    """

    rule: int
    sparsity: float
    predicted_error: float
    is_weak: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorReport:
    """What was done to one selected parameter.

    Units: entries. `pruned` includes `pruned_before`. `zeros_before` and `zeros` count what is zero or pruned, before
    the first rule and in the result; None if a server did not count them. `threshold` is the largest score that the
    last rule that ranks by magnitude pruned; None if there is no such rule, or it pruned nothing.

    `masked_error` is the relative error of the layer's outputs that the statistics predict for the mask alone,
    `predicted_error` that of the result, after the update; None if no rule used statistics of its inputs. `damping` was
    added to the diagonal of its Gram matrix, times its mean; None if nothing was factored. `curve`, of `scan`: the
    predicted error over sparsity, rule after rule, ascending.

    Example:
        >>> tensor = client.dry_run("model.safetensors", rules.l1_unstructured(0.5)).tensors[0]
        >>> tensor.name, tensor.entries, tensor.pruned, tensor.sparsity
        ('fc1.weight', 32, 16, 0.5)
    """

    name: str
    entries: int
    pruned_before: int
    pruned: int
    threshold: float | None = None
    zeros_before: int | None = None
    zeros: int | None = None
    masked_error: float | None = None
    predicted_error: float | None = None
    damping: float | None = None
    curve: tuple[CurvePoint, ...] = ()

    @property
    def sparsity(self) -> float:
        """The pruned part of all entries, 0.0 to 1.0; 0.0 for an empty tensor."""
        return part_of(self.pruned, self.entries)


def part_of(pruned: int, entries: int) -> float:
    """Return the pruned part of entries; 0.0 of nothing."""
    return pruned / entries if entries else 0.0
