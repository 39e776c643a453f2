"""What a part of a rule states about the auxiliary tensors that it can choose from: input statistics.

Scores, swaps, updates and allocations are such parts. Several statistics may say the same: the diagonal of a Gram
matrix is the sum of squares. A part therefore states alternatives, and the first that a parameter has is used.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from pruning_engine.checkpoints.auxiliary_tensors import AUXILIARY_TENSORS
from pruning_engine.errors import MismatchError, Reason

Alternatives: TypeAlias = tuple[str, ...]
"""Suffixes of auxiliary tensors of which one is used: the first that is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSize:
    """How large a weight is as `matrices` of `rows` outputs by `columns` inputs, of `itemsize` bytes an entry."""

    matrices: int
    rows: int
    columns: int
    itemsize: int

    @property
    def entries(self) -> int:
        """The number of entries of all matrices."""
        return self.matrices * self.rows * self.columns

    @property
    def gram_bytes(self) -> int:
        """The bytes of one Gram matrix for each matrix."""
        return self.matrices * self.columns * self.columns * self.itemsize


class UsesStatistics:
    """A part of a rule, with the statistics that it uses."""

    __slots__ = ()

    statistics: ClassVar[tuple[Alternatives, ...]] = ()
    """Those that every parameter must have: one of each."""

    optional_statistics: ClassVar[tuple[Alternatives, ...]] = ()
    """Those that are used where a parameter has them: one of each."""

    @property
    def uses_statistics(self) -> bool:
        """Whether it uses any."""
        return bool(self.statistics or self.optional_statistics)

    def working_bytes(self, size: LayerSize) -> int:  # noqa: ARG002 - of what computes with a layer
        """Return the bytes that it takes at most while it computes with one layer, beside its weight and statistics."""
        return 0

    def shared_bytes(self, size: LayerSize) -> int:  # noqa: ARG002
        """Return the bytes that it computes from the statistics alone, and that stay with these: factors of H."""
        return 0

    def used_statistics(self, auxiliary: Collection[str]) -> tuple[str, ...]:
        """Return the suffixes of the statistics that it uses of a parameter that has those of `auxiliary`."""
        chosen = (_chosen(each, auxiliary) for each in (*self.statistics, *self.optional_statistics))
        return tuple(dict.fromkeys(suffix for suffix in chosen if suffix is not None))

    def check_statistics(self, name: str, auxiliary: Collection[str], path: str) -> None:
        """Refuse a parameter that lacks statistics. `auxiliary`: the suffixes of those it has; `path`: of this part.

        Raises: MismatchError naming the parameter and what would do.
        """
        for alternatives in self.statistics:
            if _chosen(alternatives, auxiliary) is None:
                what = " or ".join(f"{name + each!r} ({AUXILIARY_TENSORS[each].meaning})" for each in alternatives)
                raise MismatchError(
                    Reason.MISSING_COMPANION,
                    f"{path} needs a statistic of tensor {name!r} that the file does not have: send {what}, or leave "
                    f"the tensor out of the rule",
                    field=path,
                    tensor=name,
                )


def _chosen(alternatives: Alternatives, auxiliary: Collection[str]) -> str | None:
    return next((suffix for suffix in alternatives if suffix in auxiliary), None)
