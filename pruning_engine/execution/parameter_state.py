"""One parameter under way: its weights, its mask so far, and what will be reported of it.

Reads the tensors of a logical parameter into what rules act on, and writes them out in the form that was asked.
Which entries fall is decided in `ranking.py`.
"""

from collections.abc import Mapping

import torch

from pruning_engine.errors import CheckpointError, Reason
from pruning_engine.kernels.backend import Backend, Bits, BoolArray, NotBinaryError
from pruning_engine.kernels.cpu.slices import kept_entries, without_fallen
from pruning_engine.planning.plan import PlannedParameter
from pruning_engine.recipe import OutputForm
from pruning_engine.report import TensorReport


class ParameterState:
    """A parameter between its first rule and its last.

    `weight` and `scores` are flat in C order, on the backend's device. `mask` is None while nothing is pruned; `prior`
    is the one that it came with. `kept`: of dims along which units fell, the positions that are left. `threshold`: see
    `TensorReport`.
    """

    def __init__(
        self,
        planned: PlannedParameter,
        tensors: Mapping[str, torch.Tensor],
        backend: Backend,
        *,
        counts_zeros: bool,
    ) -> None:
        self.planned = planned
        self.backend = backend
        weight = tensors[planned.weight]
        self.original = weight.detach() if weight.requires_grad else weight.resolve_neg()
        self.weight = self._flat(self.original)
        self.scores = self._flat(tensors[planned.scores]) if planned.scores is not None else None
        self.custom_mask = tensors[planned.custom_mask] if planned.custom_mask is not None else None
        self.mask = self.prior = self._prior_mask(tensors)
        self.kept: dict[int, BoolArray] = {}
        self.threshold: float | None = None
        before = self.nonzero() if counts_zeros else self.mask
        self._pruned_before = self._pruned(before)

    def nonzero(self) -> Bits:
        """Mark the entries that are neither zero nor pruned."""
        nonzero = self.backend.nonzero(self.weight)
        return nonzero if self.mask is None else nonzero.bitwise_and_(self.mask)

    def treat_zeros_as_pruned(self) -> None:
        """Count every entry that is zero as pruned."""
        self.mask = self.nonzero()

    def apply_custom_mask(self) -> None:
        """Prune what the custom mask marks 0."""
        assert self.planned.custom_mask is not None and self.custom_mask is not None  # noqa: S101, PT018 - planned
        self.keep(self._packed(self.planned.custom_mask, self.custom_mask))

    def keep(self, bits: Bits) -> None:
        """Keep only the entries marked in `bits`, of those that were kept. `bits` is used from now on."""
        self.mask = bits if self.mask is None else bits.bitwise_and_(self.mask)

    def results(self, output: OutputForm, *, in_place: bool) -> dict[str, torch.Tensor]:
        """Give the tensors that the parameter leaves as, on the device that it came from."""
        planned = self.planned
        match output:
            case OutputForm.PRUNED:
                tensors = [self._pruned_weight(in_place=in_place)]
            case OutputForm.REMOVED:
                tensors = [self._left(in_place=in_place)]
            case OutputForm.MASKED:
                mask = self.backend.unpack(self._bits(), planned.entries)
                tensors = [self.original, mask.view(planned.shape).to(self.original.device)]
            case OutputForm.MASK:
                tensors = [self._bits().to(self.original.device)]
            case OutputForm.REPORT:
                tensors = []
        return dict(zip((spec.name for spec in planned.results), tensors, strict=True))

    def report(self) -> TensorReport:
        """Give what became of the parameter."""
        return TensorReport(
            name=self.planned.name,
            entries=self.planned.entries,
            pruned_before=self._pruned_before,
            pruned=self._pruned(self.mask),
            threshold=self.threshold,
        )

    def _flat(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.detach().resolve_neg().reshape(-1).to(self.backend.device)

    def _prior_mask(self, tensors: Mapping[str, torch.Tensor]) -> Bits | None:
        if self.planned.mask is not None:
            return self._packed(self.planned.mask, tensors[self.planned.mask])
        if self.planned.mask_bits is None:
            return None
        bits = self._flat(tensors[self.planned.mask_bits])
        spare = -self.planned.entries % 8
        if spare and int(bits[-1]) >> (8 - spare):
            raise CheckpointError(
                Reason.MASK_NOT_BINARY,
                f"{self.planned.mask_bits!r}: the last {spare} bits of its last byte stand for no entry and must be 0",
                tensor=self.planned.mask_bits,
            )
        return bits

    def _packed(self, name: str, mask: torch.Tensor) -> Bits:
        try:
            return self.backend.pack(self._flat(mask))
        except NotBinaryError as error:
            raise CheckpointError(
                Reason.MASK_NOT_BINARY, f"mask {name!r} holds something other than 0 and 1", tensor=name
            ) from error

    def _pruned(self, mask: Bits | None) -> int:
        return 0 if mask is None else self.planned.entries - self.backend.count(mask)

    def _bits(self) -> Bits:
        if self.mask is None:
            self.mask = _all_kept(self.planned.entries, self.weight.device)
        return self.mask

    def _pruned_weight(self, *, in_place: bool) -> torch.Tensor:
        if self.mask is None:
            return self.original if in_place else self.original.clone()
        own = self.weight.data_ptr() != self.original.data_ptr()  # a copy was made to flatten or move it
        out = self.weight if own or in_place else torch.empty_like(self.weight)
        self.backend.apply(self.weight, self.mask, out)
        if not own:
            return self.original if in_place else out.view(self.planned.shape)
        result = self.original if in_place else torch.empty_like(self.original)
        return result.copy_(out.view(self.planned.shape))

    def _left(self, *, in_place: bool) -> torch.Tensor:
        """What is left of the weight when the units that fell are out; what else was pruned of it is zero."""
        if all(flags.all() for flags in self.kept.values()):
            return self._pruned_weight(in_place=in_place)
        left = kept_entries(self.planned.shape, self.kept)
        is_all = self.mask is None or self.backend.count(self.mask) == left
        weight = self.original if is_all else self._pruned_weight(in_place=in_place)
        return without_fallen(weight, self.kept, in_place=in_place)


def _all_kept(entries: int, device: torch.device) -> Bits:
    bits = torch.full(((entries + 7) // 8,), 0xFF, dtype=torch.uint8, device=device)
    if entries % 8:
        bits[-1] = (1 << entries % 8) - 1
    return bits
