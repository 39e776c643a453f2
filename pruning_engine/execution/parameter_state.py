"""One parameter under way: its weights, its mask so far, and what will be reported of it.

Reads the tensors of a parameter into what rules act on. Rules decide what is pruned; here their outcomes are applied.
"""

from collections.abc import Callable

import numpy as np

from pruning_engine.buffer import Buffer
from pruning_engine.errors import CheckpointError, Reason
from pruning_engine.execution.parameters import ReceivedParameter, ResultTensor
from pruning_engine.execution.predicted_errors import PredictedErrors, predicted_errors
from pruning_engine.execution.results import FinalState, results_of
from pruning_engine.kernels.backend import AnyBuffer, Backend, BoolArray, Flat, Floats, NotBinaryError, Values
from pruning_engine.kernels.channel_layout import channel_layout
from pruning_engine.kernels.cpu.arrays import numbers_of
from pruning_engine.kernels.cpu.zeros import can_count_zeros
from pruning_engine.kernels.devices import backend_for
from pruning_engine.kernels.input_matrix import flags_of
from pruning_engine.kernels.packed_mask import PackedMask, has_spare_bits_set, spare_bits
from pruning_engine.kernels.scaled_weights import ScaledWeights
from pruning_engine.recipe import OutputForm
from pruning_engine.report import CurvePoint, TensorReport
from pruning_engine.scale_layout import scale_layout
from pruning_engine.scores.layer import Layer
from pruning_engine.selection.outcome import Outcome
from pruning_proto.names import MASK_BITS


class ParameterState:
    """A parameter from its arrival to its results.

    `begin` reads its tensors, `keep` applies the outcome of a rule, `finish` leaves its `results` and its `report`
    and releases everything else. A parameter that passes through needs only `finish`.

    Attributes:
        weight: flat in C order, on the backend's device.
        mask: the entries that are unpruned.
        prior: the mask that it came with.
        kept: of dims along which coupled channels were pruned, the positions that remain.
        results: the tensors of the result, once it is finished.
        report: its report, once it is finished; None if no rule selected it.
        zeros_before: if they are counted, the entries that were zero or pruned; None where they cannot be counted.
        zeros: the same in the result.
        bias_delta: what the last rule's update adds to the bias of its layer, until it is added.
        curve: the predicted errors that rules of output format SCAN have found.
    """

    weight: Flat
    mask: PackedMask
    prior: PackedMask

    def __init__(
        self,
        received: ReceivedParameter,
        backend: Backend,
        *,
        make_layer: Callable[["ParameterState"], Layer] | None = None,
        counts_all_zeros: bool = False,
    ) -> None:
        self.planned = received.planned
        self.zeros_before: int | None = None
        self.zeros: int | None = None
        self._counts_all_zeros = counts_all_zeros and can_count_zeros(received.planned.dtype)
        self.backend = backend
        self.kept: dict[int, BoolArray] = {}
        self.results: list[ResultTensor] = []
        self.report: TensorReport | None = None
        self._tensors = dict(received.tensors)
        self._auxiliary: dict[str, Flat] = {}
        self._scales: Floats | None = None
        self._is_changed = False
        self._make_layer = make_layer
        self._layer: Layer | None = None
        self.curve: list[CurvePoint] = []
        self._damping: float | None = None
        self.bias_delta: Floats | None = None
        self.has_grown_damping = False
        self._threshold: float | None = None
        self._pruned_before = 0

    def begin(self, *, counts_zeros: bool) -> None:
        """Read the weights and the prior mask. `counts_zeros`: report zeros as pruned before.

        Raises: CheckpointError if the prior mask holds something other than 0 and 1.
        """
        planned = self.planned
        self.weight = self.load(planned.weight)
        self.mask = self.prior = self._prior_mask()
        self._pruned_before = self._pruned(self.nonzero() if counts_zeros else self.mask)
        if self._counts_all_zeros:
            self.zeros_before = self._pruned_before if counts_zeros else self._zeros()

    @property
    def arrived(self) -> Values:
        """The weights as they arrived, whatever rules have changed since."""
        return self.values_of(self.load(self.planned.weight))

    @property
    def layer(self) -> Layer:
        """Its weight as matrices, as it arrived, and what is known of its inputs.

        Raises: CheckpointError for weights or statistics that cannot be used.
        """
        if self._layer is None:
            if self._make_layer is None:
                raise RuntimeError(f"{self.planned.name!r} is not part of a plan that is carried out")
            self._layer = self._make_layer(self)
        return self._layer

    def statistic(self, suffix: str) -> Buffer:
        """Return one of its auxiliary tensors as it came, in host memory."""
        host: Buffer = self._tensors[self.planned.auxiliary[suffix].name].host()
        return host

    def load(self, name: str) -> Flat:
        """Return one of the parameter's tensors, by its name in the input, flat on the backend's device."""
        return self.backend.load(self._tensors[name])

    def load_mask(self, name: str) -> PackedMask:
        """Return a mask of one element per entry, packed. Raises: CheckpointError if it is not 0 and 1."""
        try:
            return self.backend.pack(self.load(name))
        except NotBinaryError as error:
            raise CheckpointError(
                Reason.MASK_NOT_BINARY, f"mask {name!r} holds something other than 0 and 1", tensor=name
            ) from error

    def auxiliary(self, suffix: str) -> Flat:
        """Return one of the parameter's auxiliary tensors, flat on the backend's device."""
        if suffix not in self._auxiliary:
            self._auxiliary[suffix] = self.load(self.planned.auxiliary[suffix].name)
        return self._auxiliary[suffix]

    def auxiliary_mask(self, suffix: str) -> PackedMask:
        """Return an auxiliary mask of one element per entry. Raises: CheckpointError if it is not 0 and 1."""
        return self.load_mask(self.planned.auxiliary[suffix].name)

    @property
    def values(self) -> Values:
        """Its weights as they are ranked: code times scale, if it has a scale.

        Raises: CheckpointError if a scale is not a finite number from 0.
        """
        return self.values_of(self.weight)

    def values_of(self, weight: Flat | None) -> Values:
        """Return the values of other weights of the parameter; None: of its own."""
        weight = self.weight if weight is None else weight
        scale = self.planned.scale
        if scale is None:
            return weight
        if self._scales is None:
            self._scales = _finite(numbers_of(self.load(scale.name).host(), np.float64), scale.name)
        return ScaledWeights(weight, self._scales, scale_layout(self.planned.shape, scale.shape))

    def nonzero(self) -> PackedMask:
        """Mark the entries that are neither zero nor pruned."""
        return self.backend.nonzero(self.weight).restrict_(self.mask)

    def treat_zeros_as_pruned(self) -> None:
        """Count every entry that is zero as pruned."""
        self.mask = self.nonzero()

    def keep(self, outcome: Outcome) -> None:
        """Apply the outcome of a rule."""
        self.mask = outcome.mask
        self.kept.update(outcome.kept or {})
        if outcome.weight is not None:
            self.weight = outcome.weight
            self._is_changed = True
        if outcome.is_ranked:
            self._threshold = outcome.threshold
        if outcome.damping is not None and outcome.asked_damping is not None:
            self._damping = outcome.damping
            self.has_grown_damping |= outcome.damping > outcome.asked_damping
        if outcome.bias_delta is not None:
            self.bias_delta = outcome.bias_delta

    def finish(self, output: OutputForm, *, in_place: bool) -> None:
        """Make the results and the report. `in_place`: the weights' own memory may be overwritten."""
        if self.planned.passes_through:
            self._count_those_of_host()
            came = zip(self.planned.results, self.planned.carried, strict=False)  # some formats have no results
            self.results = [ResultTensor(spec, self._tensors[name]) for spec, name in came]
            self._tensors.clear()
            return
        if self._counts_all_zeros:
            self.zeros = self._zeros() if self._may_have_zeros() else self._pruned(self.mask)
        if self.planned.rules:
            self.report = self._report()
        final = FinalState(
            planned=self.planned,
            backend=self.backend,
            original=self._tensors[self.planned.weight],
            scale=None if self.planned.scale is None else self._tensors[self.planned.scale.name],
            weight=self.weight,
            mask=self.mask,
            kept=self.kept,
            is_changed=self._is_changed,
            in_place=in_place,
        )
        self.results = results_of(final, output)
        self._release()

    def _release(self) -> None:
        self._tensors.clear()
        self._auxiliary.clear()
        self._scales = None
        self._layer = None
        del self.weight, self.mask, self.prior

    def _report(self) -> TensorReport:
        errors = self._predicted_errors()
        return TensorReport(
            name=self.planned.name,
            entries=self.planned.entries,
            pruned_before=self._pruned_before,
            pruned=self._pruned(self.mask),
            threshold=self._threshold,
            zeros_before=self.zeros_before,
            zeros=self.zeros,
            zero_lengths=self._zero_lengths(),
            masked_error=None if errors is None else errors.masked,
            predicted_error=None if errors is None else errors.result,
            damping=self._damping,
            has_grown_damping=self.has_grown_damping,
            curve=tuple(self.curve),
            has_few_tokens=self._layer is not None and bool(self._layer.grams) and self._layer.has_few_tokens,
        )

    def _predicted_errors(self) -> PredictedErrors | None:
        """Return what the statistics predict; None if no rule used any."""
        if self._layer is None or not self._layer.grams or self.curve:
            return None
        flags = flags_of(self.mask, self.backend)
        return predicted_errors(self._layer, flags, self.values, is_changed=self._is_changed)

    def _zero_lengths(self) -> int:
        """Count the channels of a weight-normed weight that are all zero; those that are removed are not."""
        dim = self.planned.length_dim
        if dim is None or dim in self.kept:
            return 0
        left = self.backend.unpruned_channels(self.nonzero(), channel_layout(self.planned.shape, dim))
        return len(left) - int(np.count_nonzero(left))

    def _zeros(self) -> int:
        """Count the entries that are zero or pruned."""
        return self.planned.entries - self.backend.count_nonzero(self.weight, self.mask)

    def _may_have_zeros(self) -> bool:
        """Whether entries that are unpruned may be zero, so that counting the mask is not enough."""
        return self._is_changed or self.zeros_before != self._pruned(self.prior)

    def _count_those_of_host(self) -> None:
        """Count the zeros of a tensor that passes through, where it is."""
        if self._counts_all_zeros:
            host = self._tensors[self.planned.weight].host()
            flat = Buffer(host.dtype, (host.entries,), host.array.reshape(-1))
            nonzero = backend_for("cpu").count_nonzero(flat, PackedMask.full(host.entries))
            self.zeros_before = self.zeros = host.entries - nonzero

    def _prior_mask(self) -> PackedMask:
        planned = self.planned
        if planned.pair_mask is not None:
            mask = self.load_mask(planned.pair_mask.name)
            del self._tensors[planned.pair_mask.name]
            return mask
        if MASK_BITS not in planned.auxiliary:
            return PackedMask.full(planned.entries)
        name = planned.auxiliary[MASK_BITS].name
        return self._prior_bits(name, self._tensors.pop(name))

    def _prior_bits(self, name: str, tensor: AnyBuffer) -> PackedMask:
        mask = self.backend.from_bits(self.backend.load(tensor), self.planned.entries)
        if has_spare_bits_set(mask.bits, self.planned.entries):
            raise CheckpointError(
                Reason.MASK_NOT_BINARY,
                f"{name!r}: the last {spare_bits(self.planned.entries)} bits of its last byte belong to no entry and "
                f"must be 0",
                tensor=name,
            )
        return mask

    def _pruned(self, mask: PackedMask) -> int:
        return self.planned.entries - self.backend.count(mask)


def _finite(scales: Floats, name: str) -> Floats:
    wrong = np.flatnonzero(~(np.isfinite(scales) & (scales >= 0)))
    if len(wrong):
        raise CheckpointError(
            Reason.INVALID_AUXILIARY,
            f"scale {name!r} holds {scales[wrong[0]]} at position {wrong[0]}; scales must be finite numbers from 0",
            tensor=name,
        )
    return scales
