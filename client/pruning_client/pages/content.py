"""What a page shows, whatever it was made from: frozen values."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

from pruning_client.models.magnitudes_value import Magnitudes
from pruning_proto.safetensors.dtypes import DTYPE_BITS


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorFacts:
    """One tensor of the model, before and after.

    `shape` is that after, of a removed tensor that before; `entries_before` is None where the number did not change.
    `zeros_before` and `zeros` count its entries that are zero or pruned; None if they are not known. `is_selected` is
    None where no rules are known; `why_not` says in words why a tensor is not selected. `is_removed`: it is not in the
    result. `before` and `after` are the distributions of |w|. `threshold` is the largest score that was pruned; it is
    also the `cut` where scores are |w| and all of these up to it were pruned.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    entries_before: int | None = None
    zeros_before: int | None = None
    zeros: int | None = None
    is_selected: bool | None = None
    why_not: str = ""
    is_removed: bool = False
    threshold: float | None = None
    cut: float | None = None
    masked_error: float | None = None
    predicted_error: float | None = None
    before: Magnitudes | None = None
    after: Magnitudes | None = None

    @property
    def entries(self) -> int:
        """The number of its entries."""
        return prod(self.shape)

    @property
    def had(self) -> int:
        """Its entries before."""
        return self.entries if self.entries_before is None else self.entries_before

    @property
    def has(self) -> int:
        """Its entries after; none if it was removed."""
        return 0 if self.is_removed else self.entries

    @property
    def was_there(self) -> bool:
        """Whether the model had it before."""
        return self.entries_before != 0 or not self.entries

    def bytes_of(self, entries: int) -> int:
        """Return the bytes of a number of its entries in a dense file; 0 for an unknown dtype."""
        return (entries * DTYPE_BITS.get(self.dtype, 0) + 7) // 8

    @property
    def sparsity(self) -> float | None:
        """The part of the entries that are zero, 0.0 to 1.0; None if it is not known."""
        if self.zeros is None:
            return None
        return self.zeros / self.entries if self.entries else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PageContent:
    """A page: a title, the tensors, and what was asked and done.

    Units: bytes, of the files before and after; None if there is none, or it is not known. `facts` are pairs of a label
    and a text, such as a version or a digest. `recipe` has a line for each rule, `recipe_json` what `--recipe` reads.
    `removed` are groups of units: name, units before, units kept. `notes` say what the page could not show, and why.
    `total_before` and `total_after` are the parameters of the model; `model_zeros_before` and `model_zeros` are those
    that are zero, as the run counted them: for models of which not all tensors were read.
    """

    title: str
    tensors: Sequence[TensorFacts]
    has_before: bool
    total_before: int
    total_after: int
    model_zeros_before: int | None = None
    model_zeros: int | None = None
    bytes_before: int | None = None
    bytes_after: int | None = None
    facts: Sequence[tuple[str, str]] = ()
    warnings: Sequence[tuple[str, str]] = ()
    recipe: Sequence[str] = ()
    recipe_json: str = ""
    removed: Sequence[tuple[str, int, int]] = ()
    notes: Sequence[str] = field(default=())

    @property
    def zeros_before(self) -> tuple[int, int] | None:
        """The zeros of the whole model before, and of how many entries; None if they are not known."""
        counts = [(tensor.zeros_before, tensor.had) for tensor in self.tensors]
        return self._of_model(counts, self.model_zeros_before, self.total_before)

    @property
    def zeros(self) -> tuple[int, int] | None:
        """The zeros of the whole model after, and of how many entries; None if they are not known."""
        counts = [(tensor.zeros, tensor.entries) for tensor in self.tensors if not tensor.is_removed]
        return self._of_model(counts, self.model_zeros, self.total_after)

    @property
    def tensor_counts(self) -> tuple[int, int]:
        """The number of tensors before and after."""
        return counts_of(self.tensors, has_before=self.has_before)

    def _of_model(
        self, counts: Sequence[tuple[int | None, int]], counted: int | None, total: int
    ) -> tuple[int, int] | None:
        known = [(zeros, entries) for zeros, entries in counts if zeros is not None]
        if counted is not None and len(known) < len(counts):  # those of removed units are counted too
            return (counted, total) if self.total_before == self.total_after else None
        return (sum(zeros for zeros, _ in known), sum(entries for _, entries in known)) if known else None


def counts_of(tensors: Sequence[TensorFacts], *, has_before: bool) -> tuple[int, int]:
    """Return how many of these there were before, and are after; the same number where nothing is known of before."""
    after = sum(not tensor.is_removed for tensor in tensors)
    return (sum(tensor.was_there for tensor in tensors) if has_before else after, after)
