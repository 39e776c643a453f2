"""The exact k least important entries of each group of one tensor: of each row, or of each m entries along a dim.

Entries compete with those of their group only, so that nothing is sampled: each piece of whole groups is decided in one
pass. Among equal entries of a group the first ones are pruned.
"""

from collections.abc import Callable
from dataclasses import dataclass

from pruning_engine.kernels.backend import Candidates, GroupCut
from pruning_engine.kernels.group_layout import GroupLayout
from pruning_engine.kernels.packed_mask import PackedMask
from pruning_engine.runtime.threads import in_parallel
from pruning_engine.selection.entries import NanKeyError


@dataclass(frozen=True, slots=True, eq=False)
class LeastInGroups:
    """Which entries are kept, and the largest key that was pruned (None if none was)."""

    kept: PackedMask
    largest_pruned: int | None


def least_in_groups(candidates: Candidates, layout: GroupLayout, to_prune: Callable[[int, int], int]) -> LeastInGroups:
    """Prune the least candidates of each group of `layout`.

    `to_prune`: how many of a group's candidates out of its entries to prune; it is called once for each number.
    Raises: NanKeyError if a candidate is NaN; what `to_prune` raises.
    """
    grouped = candidates.in_groups(layout)
    kept = grouped.blank()

    def pruned(piece: tuple[int, int]) -> GroupCut:
        cut = grouped.prune(piece, to_prune, kept)
        if cut.has_nan:
            raise NanKeyError(0)
        return cut

    cuts = in_parallel(pruned, grouped.pieces())
    largest = [cut.largest_pruned for cut in cuts if cut.largest_pruned is not None]
    return LeastInGroups(grouped.packed(kept), max(largest, default=None))
