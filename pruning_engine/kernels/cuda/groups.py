"""The least entries of each group in torch operations: `backend.GroupedCandidates`, see cpu/groups.py."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from pruning_engine.dtypes import packed_bytes
from pruning_engine.kernels.backend import GroupCut
from pruning_engine.kernels.cuda.bits import bits_at, pack_bits, unpack_bits
from pruning_engine.kernels.cuda.keys import Keys
from pruning_engine.kernels.group_layout import GroupLayout
from pruning_engine.kernels.packed_mask import Bits, PackedMask, packed_slice


class TorchGroups:
    """The candidates of one tensor, in groups. A piece is a range of groups."""

    def __init__(self, keys: Keys, mask: Bits | None, layout: GroupLayout, step: int) -> None:
        self._keys = keys
        self._mask = mask
        self._layout = layout
        self._is_contiguous = layout.is_contiguous
        self._step = step

    def pieces(self) -> Sequence[tuple[int, int]]:
        """Return where each piece begins and ends; contiguous ones begin at whole bytes of a packed mask."""
        return self._layout.pieces(self._step)

    def blank(self) -> torch.Tensor:
        """Return what `prune` marks kept entries in: packed bits, or one bool per entry."""
        entries, device = self._layout.entries, self._keys.device
        if self._is_contiguous:
            return torch.empty(packed_bytes(entries), dtype=torch.uint8, device=device)
        return torch.empty(entries, dtype=torch.bool, device=device)

    def packed(self, kept: torch.Tensor) -> PackedMask:
        """Return the mask of what `prune` has marked."""
        return PackedMask(self._layout.entries, kept if self._is_contiguous else pack_bits(kept))

    def prune(self, piece: tuple[int, int], to_prune: Callable[[int, int], int], kept: torch.Tensor) -> GroupCut:
        """Mark in `kept` what stays of the groups of a piece."""
        keys, unpruned, positions = self._read(piece)
        if self._has_nan(keys, unpruned):
            return GroupCut(None, has_nan=True)
        pruned, largest = _least_of_rows(keys, unpruned, _counts(keys, unpruned, to_prune))
        stays = ~pruned if unpruned is None else unpruned & ~pruned
        if positions is None:
            entries = self._layout.group_entries
            kept[packed_slice(piece[0] * entries, piece[1] * entries)] = pack_bits(stays.reshape(-1))
        else:
            kept[positions] = stays
        return GroupCut(None if largest is None else largest + self._keys.offset, has_nan=False)

    def _read(self, piece: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Return the keys of a piece and which are unpruned, a row per group, and their positions if gathered."""
        first, last = piece
        shape = last - first, self._layout.group_entries
        if self._is_contiguous:
            begin, end = first * shape[1], last * shape[1]
            mask = None if self._mask is None else unpack_bits(self._mask[packed_slice(begin, end)], end - begin)
            return self._keys.read(begin, end).view(shape), None if mask is None else mask.view(shape), None
        positions = torch.from_numpy(self._layout.positions(first, last)).to(self._keys.device)
        return self._keys.at(positions), None if self._mask is None else bits_at(self._mask, positions), positions

    def _has_nan(self, keys: torch.Tensor, unpruned: torch.Tensor | None) -> bool:
        limit = self._keys.largest_number
        if limit is None:
            return False
        nan = keys > limit
        return bool((nan if unpruned is None else nan & unpruned).any())


def _counts(keys: torch.Tensor, unpruned: torch.Tensor | None, to_prune: Callable[[int, int], int]) -> torch.Tensor:
    """Return how many entries of each row to prune."""
    rows, entries = keys.shape
    if unpruned is None:
        return torch.full((rows,), to_prune(entries, entries), device=keys.device)
    numbers, which = np.unique(unpruned.sum(dim=1).cpu().numpy(), return_inverse=True)
    counts = np.array([to_prune(int(number), entries) for number in numbers])[which]
    return torch.from_numpy(counts).to(keys.device)


def _least_of_rows(
    keys: torch.Tensor, unpruned: torch.Tensor | None, counts: torch.Tensor
) -> tuple[torch.Tensor, int | None]:
    """Mark the least `counts` unpruned keys of each row, among equals the first; return the largest key marked too."""
    if not bool(counts.any()):
        return torch.zeros(keys.shape, dtype=torch.bool, device=keys.device), None
    if unpruned is not None:
        keys = keys.masked_fill(~unpruned, torch.iinfo(keys.dtype).max)
    cuts = keys.sort(dim=1).values.gather(1, (counts - 1).clamp(min=0).view(-1, 1))
    has_any = (counts > 0).view(-1, 1)
    pruned, equal = (keys < cuts) & has_any, (keys == cuts) & has_any
    if unpruned is not None:
        equal &= unpruned
    missing = counts - pruned.sum(dim=1)
    equal &= equal.cumsum(dim=1) <= missing.view(-1, 1)
    return pruned | equal, int(cuts[has_any].max())
