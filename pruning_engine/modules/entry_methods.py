"""Methods that prune single entries: L1Unstructured, RandomUnstructured.

They say how entries are ranked; which ones are pruned is decided by `selection`, here as for state dicts. Several
tensors can be ranked at once, which is what global pruning is.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.utils import prune as torch_prune

from pruning_engine.errors import CheckpointError, Reason
from pruning_engine.kernels.backend import Candidates
from pruning_engine.kernels.magnitude_keys import domain_of
from pruning_engine.kernels.packed_mask import PackedMask
from pruning_engine.kernels.random_keys import key_of
from pruning_engine.modules.amounts import count_to_prune, validate_pruning_amount_init
from pruning_engine.modules.base_method import BasePruningMethod
from pruning_engine.modules.calls import shows_right_call
from pruning_engine.modules.mask_tensors import backend_of, flat_numbers, mask_dtype, packed, times_, write_mask
from pruning_engine.modules.seeds import draw_seed
from pruning_engine.modules.storage import Method
from pruning_engine.selection.entries import NanKeyError, select


@dataclass(frozen=True, slots=True, eq=False)
class RankedTensor:
    """A tensor whose entries are ranked: their importance, which of them are unpruned, and the tensor's name."""

    importance: torch.Tensor
    mask: PackedMask
    name: str


class EntryMethod(BasePruningMethod):
    """Prunes the `amount` least important entries, among equals the first ones."""

    PRUNING_TYPE: str = "unstructured"

    @shows_right_call("L1Unstructured(amount=0.5)")
    def __init__(self, amount: float) -> None:
        validate_pruning_amount_init(amount)
        self.amount = amount

    @abstractmethod
    def candidates(self, tensors: Sequence[RankedTensor]) -> list[Candidates]:
        """Return the unpruned entries of each tensor, ranked."""

    @property
    def ranks_alone(self) -> bool:
        """Whether the ranking decides; not so if a subclass has a `compute_mask` of its own."""
        return type(self).compute_mask is EntryMethod.compute_mask

    def select(self, tensors: Sequence[RankedTensor]) -> list[PackedMask]:
        """Return the mask of what each tensor keeps, of its unpruned entries.

        Raises: MismatchError if the amount is more than there are; CheckpointError for NaN.
        """
        candidates = self.candidates(tensors)
        count = count_to_prune(self.amount, sum(one.unpruned for one in candidates))
        try:
            return select(candidates, count).kept
        except NanKeyError as error:
            name = tensors[error.index].name
            raise CheckpointError(
                Reason.NAN_WEIGHTS, f"tensor {name!r} holds NaN among the entries to be ranked; NaN has no rank"
            ) from error

    def compute_mask(self, t: torch.Tensor, default_mask: torch.Tensor) -> torch.Tensor:
        """Return `default_mask` without the least important of all entries; those that it has pruned are ranked too."""
        (kept,) = self.select([self._ranked(t, PackedMask.full(t.numel()))])
        return times_(write_mask(kept, t.shape, default_mask.dtype, t.device), default_mask)

    def mask_survivors(self, t: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the mask without the least important of the entries that are unpruned."""
        if not self.ranks_alone:
            return super().mask_survivors(t, mask)
        prior = packed(mask == 1)
        (kept,) = self.select([self._ranked(t, prior)])
        result = write_mask(kept.add_pruned_(prior), t.shape, mask_dtype(t, mask), t.device)
        return times_(result, mask.to(result.dtype))

    def _ranked(self, t: torch.Tensor, mask: PackedMask) -> RankedTensor:
        return RankedTensor(t, mask, self._tensor_name or "")


class L1Unstructured(EntryMethod, torch_prune.L1Unstructured):
    """Prunes the entries of least magnitude.

    `amount`: an int, a number of entries; a float from 0.0 to 1.0, that part of what is unpruned.
    """

    def candidates(self, tensors: Sequence[RankedTensor]) -> list[Candidates]:
        """Return the entries by their magnitude, compared in one dtype that holds them all."""
        flat = [flat_numbers(each.importance) for each in tensors]
        domain = domain_of(numbers.dtype for numbers in flat)
        return [
            backend_of(each.importance).magnitudes(numbers, domain, each.mask)
            for each, numbers in zip(tensors, flat, strict=True)
        ]

    @classmethod
    @shows_right_call("L1Unstructured.apply({place}, amount=0.5)")
    def apply(  # type: ignore[override]  # torch's signature
        cls,
        module: torch.nn.Module,
        name: str,
        amount: float,
        importance_scores: torch.Tensor | None = None,
        *,
        mask_dtype: torch.dtype | None = None,
    ) -> Method:
        """Prune `module.name`: see BasePruningMethod.apply."""
        return super().apply(module, name, amount=amount, importance_scores=importance_scores, mask_dtype=mask_dtype)


class RandomUnstructured(EntryMethod, torch_prune.RandomUnstructured):
    """Prunes entries at random, by 64 random bits each, whatever the dtype.

    `amount`: see L1Unstructured. `seed`: 64 bits; with None, each mask draws its own from torch's default generator.
    """

    @shows_right_call("RandomUnstructured(amount=0.5)")
    def __init__(self, amount: float, seed: int | None = None) -> None:
        super().__init__(amount)
        self.seed = seed

    def candidates(self, tensors: Sequence[RankedTensor]) -> list[Candidates]:
        """Return the entries by random scores: see random_keys.py."""
        seed = draw_seed() if self.seed is None else self.seed
        return [backend_of(each.importance).random(key_of(seed, 0, each.name), each.mask) for each in tensors]

    @classmethod
    @shows_right_call("RandomUnstructured.apply({place}, amount=0.5)")
    def apply(  # type: ignore[override]  # torch's signature
        cls,
        module: torch.nn.Module,
        name: str,
        amount: float,
        *,
        seed: int | None = None,
        mask_dtype: torch.dtype | None = None,
    ) -> Method:
        """Prune `module.name`: see BasePruningMethod.apply."""
        return super().apply(module, name, amount=amount, seed=seed, mask_dtype=mask_dtype)
