"""Methods that let single entries fall: L1Unstructured, RandomUnstructured.

They say how entries compete; which ones fall is for selection.py to decide, here as for state dicts. Several
tensors can compete at once, which is what global pruning is.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.utils import prune as torch_prune

from pruning_engine.errors import CheckpointError, Reason
from pruning_engine.kernels import magnitude_keys as scores
from pruning_engine.kernels import random_keys as random_scores
from pruning_engine.kernels.backend import Bits, Candidates
from pruning_engine.kernels.devices import backend_for
from pruning_engine.modules.amounts import count_falling, validate_pruning_amount_init
from pruning_engine.modules.base_method import BasePruningMethod
from pruning_engine.modules.mask_tensors import bits_of, flat_numbers, mask_dtype, times_, write_mask
from pruning_engine.modules.seeds import draw_seed
from pruning_engine.modules.storage import Method
from pruning_engine.selection import entries as selection


@dataclass(frozen=True, slots=True, eq=False)
class Competitor:
    """A tensor whose entries compete: their importance, flat, which of them are left (None: all), and its name."""

    importance: torch.Tensor
    alive: Bits | None
    name: str


class EntryMethod(BasePruningMethod):
    """The `amount` least important entries fall, among equals the first ones."""

    PRUNING_TYPE: str = "unstructured"

    def __init__(self, amount: float) -> None:
        validate_pruning_amount_init(amount)
        self.amount = amount

    @abstractmethod
    def contenders(self, competitors: Sequence[Competitor]) -> list[Candidates]:
        """Give the entries of each tensor as they compete."""

    @property
    def ranks_alone(self) -> bool:
        """Whether the ranking decides; not so if a subclass has a `compute_mask` of its own."""
        return type(self).compute_mask is EntryMethod.compute_mask

    def select(self, competitors: Sequence[Competitor]) -> list[Bits]:
        """Give the packed mask of what each tensor keeps, of what it had left.

        Raises: MismatchError if more should fall than is left; CheckpointError for NaN.
        """
        contenders = self.contenders(competitors)
        count = count_falling(self.amount, sum(contender.alive for contender in contenders))
        try:
            return selection.select(contenders, count).kept
        except selection.NanKeyError as error:
            name = competitors[contenders.index(error.contender)].name
            raise CheckpointError(
                Reason.NAN_WEIGHTS, f"tensor {name!r} holds NaN among the entries to be ranked; NaN has no rank"
            ) from error

    def compute_mask(self, t: torch.Tensor, default_mask: torch.Tensor) -> torch.Tensor:
        """Give `default_mask` without the least important of all entries: what it has pruned competes too."""
        (kept,) = self.select([self._competitor(t, None)])
        return times_(write_mask(kept, t.shape, default_mask.dtype), default_mask)

    def mask_survivors(self, t: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Give the mask without the least important of the entries that are left."""
        if not self.ranks_alone:
            return super().mask_survivors(t, mask)
        alive = bits_of(mask == 1)
        (kept,) = self.select([self._competitor(t, alive)])
        result = write_mask(kept | ~alive, t.shape, mask_dtype(t, mask))
        return times_(result, mask.to(result.dtype))

    def _competitor(self, t: torch.Tensor, alive: Bits | None) -> Competitor:
        return Competitor(flat_numbers(t), alive, self._tensor_name or "")


class L1Unstructured(EntryMethod, torch_prune.L1Unstructured):
    """The entries of least magnitude fall.

    `amount`: an int, so many; a float from 0.0 to 1.0, that part of what is left.
    """

    def contenders(self, competitors: Sequence[Competitor]) -> list[Candidates]:
        """Give the entries by their magnitude, compared in one dtype that holds them all."""
        domain = scores.domain_of(each.importance.dtype for each in competitors)
        return [
            backend_for(each.importance.device).magnitudes(each.importance, domain, each.alive) for each in competitors
        ]

    @classmethod
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
    """Entries fall at random, with 64 bits of chance each, whatever the dtype.

    `amount`: see L1Unstructured. `seed`: 64 bits; with None, each mask draws its own from torch's default generator.
    """

    def __init__(self, amount: float, seed: int | None = None) -> None:
        super().__init__(amount)
        self.seed = seed

    def contenders(self, competitors: Sequence[Competitor]) -> list[Candidates]:
        """Give the entries by random scores: see random_scores.py."""
        seed = draw_seed() if self.seed is None else self.seed
        return [
            backend_for(each.importance.device).random(
                random_scores.key_of(seed, 0, each.name), each.importance.numel(), each.alive
            )
            for each in competitors
        ]

    @classmethod
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
