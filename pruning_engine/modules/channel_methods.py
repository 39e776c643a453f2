"""Methods that prune whole channels: LnStructured, RandomStructured."""

from abc import abstractmethod
from math import isnan
from numbers import Real

import numpy as np
import torch
from torch.nn.utils import prune as torch_prune

from pruning_engine.errors import CheckpointError, MismatchError, Reason, RecipeError
from pruning_engine.kernels.backend import BoolArray
from pruning_engine.kernels.channel_layout import channel_layout
from pruning_engine.kernels.packed_mask import PackedMask
from pruning_engine.kernels.random_keys import key_of
from pruning_engine.modules.amounts import (
    count_to_prune,
    validate_pruning_amount_init,
    validate_pruning_dim,
    validate_structured_pruning,
)
from pruning_engine.modules.base_method import BasePruningMethod
from pruning_engine.modules.calls import shows_right_call
from pruning_engine.modules.mask_tensors import backend_of, flat_numbers, mask_dtype, times
from pruning_engine.modules.seeds import draw_seed
from pruning_engine.modules.storage import Method
from pruning_engine.modules.unpruned_view import unpruned_channels
from pruning_engine.norm import NamedNorm, Norm
from pruning_engine.selection.channels import RankedChannels, least_channels
from pruning_engine.selection.random_choice import random_channels

_NUCLEAR_DIMS = 3


class ChannelMethod(BasePruningMethod):
    """Prunes the `amount` least important channels along `dim`, among equals the first ones."""

    PRUNING_TYPE: str = "structured"

    def __init__(self, amount: float, dim: int = -1) -> None:
        validate_pruning_amount_init(amount)
        self.amount = amount
        self.dim = dim

    @abstractmethod
    def channels_to_prune(self, t: torch.Tensor, candidates: BoolArray, count: int) -> BoolArray:
        """Mark the `count` least important of the channels that are candidates."""

    def compute_mask(self, t: torch.Tensor, default_mask: torch.Tensor) -> torch.Tensor:
        """Return `default_mask` without the least important of all channels; those that it has pruned are ranked too.

        Raises: MismatchError if `t` has no channels, or fewer than `amount`; DimError for a dim that it has not.
        """
        self._check(t)
        candidates = np.ones(t.shape[self.dim], np.bool_)
        dtype = mask_dtype(t, default_mask) if self._count(candidates) else default_mask.dtype  # as in torch
        return self._mask(t, default_mask.to(dtype), candidates)

    def mask_survivors(self, t: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the mask without the least important of the channels that have an unpruned entry."""
        if type(self).compute_mask is not ChannelMethod.compute_mask:
            return super().mask_survivors(t, mask)
        self._check(t)
        return self._mask(t, mask.to(mask_dtype(t, mask)), unpruned_channels(mask, self.dim).cpu().numpy())

    def _mask(self, t: torch.Tensor, prior: torch.Tensor, candidates: BoolArray) -> torch.Tensor:
        shape = [1] * t.dim()
        shape[self.dim] = -1
        kept = torch.from_numpy(~self.channels_to_prune(t, candidates, self._count(candidates))).view(shape)
        return times(prior, kept.to(prior).expand_as(prior))

    def _count(self, candidates: BoolArray) -> int:
        return count_to_prune(self.amount, int(np.count_nonzero(candidates)))

    def _check(self, t: torch.Tensor) -> None:
        validate_structured_pruning(t)
        validate_pruning_dim(t, self.dim)


class LnStructured(ChannelMethod, torch_prune.LnStructured):
    """Prunes the channels of least norm.

    `amount`: an int, a number of channels; a float from 0.0 to 1.0, that part of what is unpruned.
    `n`: p of a vector norm, also 0, inf and -inf; "fro", which is 2; "nuc", for tensors of 3 dims.
    """

    @shows_right_call("LnStructured(amount=0.5, n=2, dim=0)")
    def __init__(self, amount: float, n: float | str, dim: int = -1) -> None:
        super().__init__(amount, dim)
        self.n = n
        self._norm = _norm(n)

    def channels_to_prune(self, t: torch.Tensor, candidates: BoolArray, count: int) -> BoolArray:
        """Mark the candidates of least norm."""
        ranked = self._ranked(t, candidates)
        return least_channels([ranked], count, self._norm).pruned[0]

    def _ranked(self, t: torch.Tensor, candidates: BoolArray) -> RankedChannels:
        layout, backend, flat = channel_layout(t.shape, self.dim), backend_of(t), flat_numbers(t)
        full = PackedMask.full(layout.entries)
        ranks = backend.norms(flat, full, layout, self._norm) if layout.entries else np.zeros(layout.channels)
        if np.isnan(ranks).any():
            raise CheckpointError(
                Reason.NAN_WEIGHTS,
                f"tensor {self._tensor_name or 't'!r} holds NaN among the channels to be ranked; NaN has no rank",
                tensor=self._tensor_name,
            )
        return RankedChannels(
            candidates=candidates, ranks=ranks[candidates], layout=layout, backend=backend, flat=flat, mask=full
        )

    def _check(self, t: torch.Tensor) -> None:
        super()._check(t)
        if self._norm is NamedNorm.NUC and (t.dim() != _NUCLEAR_DIMS or t.is_complex()):
            raise MismatchError(
                Reason.NORM_NOT_DEFINED,
                f"n='nuc' is the norm of real matrices, so of tensors of 3 dims; "
                f"this one is {t.dtype} of shape {list(t.shape)}",
                field="n",
            )

    @classmethod
    @shows_right_call("LnStructured.apply({place}, amount=0.5, n=2, dim=0)")
    def apply(  # type: ignore[override]  # noqa: PLR0913, PLR0917 - torch's signature
        cls,
        module: torch.nn.Module,
        name: str,
        amount: float,
        n: float | str,
        dim: int,
        importance_scores: torch.Tensor | None = None,
        *,
        mask_dtype: torch.dtype | None = None,
    ) -> Method:
        """Prune `module.name`: see BasePruningMethod.apply."""
        return super().apply(
            module, name, amount=amount, n=n, dim=dim, importance_scores=importance_scores, mask_dtype=mask_dtype
        )


class RandomStructured(ChannelMethod, torch_prune.RandomStructured):
    """Prunes channels at random.

    `amount`: see LnStructured. `seed`: 64 bits; with None, each mask draws its own from torch's default generator.
    """

    @shows_right_call("RandomStructured(amount=0.5, dim=0)")
    def __init__(self, amount: float, dim: int = -1, seed: int | None = None) -> None:
        super().__init__(amount, dim)
        self.seed = seed

    def channels_to_prune(self, t: torch.Tensor, candidates: BoolArray, count: int) -> BoolArray:  # noqa: ARG002
        """Mark candidates by random scores: see random_keys.py."""
        seed = draw_seed() if self.seed is None else self.seed
        return random_channels([key_of(seed, 0, self._tensor_name or "")], [candidates], count)[0]

    @classmethod
    @shows_right_call("RandomStructured.apply({place}, amount=0.5, dim=0)")
    def apply(  # type: ignore[override]  # noqa: PLR0913 - torch's signature
        cls,
        module: torch.nn.Module,
        name: str,
        amount: float,
        dim: int = -1,
        *,
        seed: int | None = None,
        mask_dtype: torch.dtype | None = None,
    ) -> Method:
        """Prune `module.name`: see BasePruningMethod.apply."""
        return super().apply(module, name, amount=amount, dim=dim, seed=seed, mask_dtype=mask_dtype)


def _norm(n: object) -> Norm:
    if isinstance(n, str) and n in set(NamedNorm):
        return NamedNorm(n)
    if not isinstance(n, Real) or isnan(n):
        raise RecipeError(
            Reason.INVALID_NORM, f"n={n!r} is not a norm; give a number, inf, -inf, 'fro' or 'nuc'", field="n"
        )
    return float(n)
