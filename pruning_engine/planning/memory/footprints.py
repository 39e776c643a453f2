"""How many bytes each parameter of a plan takes while it is held."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Final

from pruning_engine.checkpoints.parameters import described_bytes
from pruning_engine.dtypes import packed_bytes
from pruning_engine.granularities.channels import CHANNEL_BYTES
from pruning_engine.kernels.input_matrix import is_of_experts
from pruning_engine.planning.memory.profile import Footprint
from pruning_engine.planning.memory.working_memory import working_memory
from pruning_engine.planning.plan import PlannedParameter
from pruning_engine.planning.stages import Groups
from pruning_engine.recipe import Prior, Recipe, Rule
from pruning_proto.names import IN_GRAM, INPUTS, MASK

_WEIGHTS: Final = 2
"""Copies of a weight as numbers."""

_MATRICES: Final = 4
"""Matrices of the size of a Gram matrix."""

_BLOCK_ENTRIES: Final = 1 << 21
"""Entries of a block of rows, as in `methods.arrays`."""

_BLOCK_BYTES: Final = 90
"""What an entry of a block takes in all arrays of a block together."""


_CHECK_BYTES: Final = 32
"""What an entry of a Gram matrix takes while it is checked."""

_FIXED_BYTES: Final = 8 << 20
"""Arrays whose size does not depend on the weight."""

_STACKED_DIMS: Final = 3


class Footprints:
    """What each parameter takes while it is held. Cached by rules and shape: a recipe may have 100 rules."""

    def __init__(self, recipe: Recipe, groups: Groups) -> None:
        self._recipe = recipe
        self._positions = _coupled_positions(groups)
        self._demands: dict[tuple[int, ...], _Demands] = {}

    def of(self, parameter: PlannedParameter) -> Footprint:
        """Return the footprint of one parameter."""
        if parameter.rules not in self._demands:
            self._demands[parameter.rules] = _Demands([self._recipe.rules[position] for position in parameter.rules])
        demands = self._demands[parameter.rules]
        positions = self._positions.get(parameter.name, 0)
        ranking = demands.ranking_bytes(parameter)
        counts_zeros = demands.counts_zeros or (parameter.was_pruned and demands.counts_zeros_of_earlier)
        masks = _masks(parameter, counts_zeros=counts_zeros, keeps_prior=bool(positions))
        working = working_memory(parameter, self._recipe)
        made = 0
        if demands.uses_layer:
            made = _calibrated_bytes(parameter) if working is None else working.most_bytes
        return Footprint(
            sources=parameter.sources,
            stages=parameter.stages,
            source_bytes=sum(map(described_bytes, parameter.tensors)),
            mask_bytes=masks * packed_bytes(parameter.entries)
            + ranking
            + CHANNEL_BYTES * positions
            + _scale_bytes(parameter)
            + (described_bytes(parameter.spec) if demands.changes_weights or _is_changed_bias(parameter) else 0)
            + (_number_bytes(parameter) * parameter.entries if demands.uses_layer else 0),
            result_bytes=sum(spec.nbytes for spec in parameter.results),
            made_bytes=max(_mask_result_bytes(parameter), made),
            derived=None if working is None else (working.source, working.shared_bytes),
        )


class _Demands:
    """What a set of rules needs of each parameter that they select."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.counts_zeros = any(rule.prior is Prior.ZEROS for rule in rules)
        self.counts_zeros_of_earlier = any(rule.prior is Prior.HISTORY for rule in rules)
        self.changes_weights = any(rule.replaces_weights for rule in rules)
        self.uses_layer = any(map(_uses_layer, rules))
        self._rankings = {(rule.granularity, rule.score, rule.scope) for rule in rules}
        self._ranking_bytes: dict[object, int] = {}

    def ranking_bytes(self, parameter: PlannedParameter) -> int:
        """Return the bytes that the rule that needs most takes for its ranking."""
        shape = parameter.shape
        kind = shape, parameter.input_dim, len(shape) == _STACKED_DIMS and is_of_experts(parameter.name)
        if kind not in self._ranking_bytes:
            needed = (
                granularity.ranking_bytes(score, parameter, scope) for granularity, score, scope in self._rankings
            )
            self._ranking_bytes[kind] = max(needed, default=0)
        return self._ranking_bytes[kind]


def _coupled_positions(groups: Groups) -> Mapping[str, int]:
    """Return how many positions of each parameter's dims are coupled, all rules together."""
    found: dict[str, int] = {}
    for tie in (tie for each in groups.values() for group in each for tie in group.ties):
        found[tie.parameter] = found.get(tie.parameter, 0) + tie.units * tie.unit_positions
    for each in (each for groups_ in groups.values() for group in groups_ for each in group.numbered):
        found.update((name, found.get(name, 0) + 1) for name in each.scored)
    return found


def _uses_layer(rule: Rule) -> bool:
    """Whether a rule computes with its weights as matrices of numbers."""
    is_measured = rule.allocation is not None and bool(rule.allocation.statistics)
    return is_measured or rule.is_scanned or rule.score.eliminates or rule.swaps is not None or rule.update is not None


def _calibrated_bytes(parameter: PlannedParameter) -> int:
    """Return at most what swaps, updates, eliminations and predicted errors take for a while.

    That is the weight as numbers as it becomes, and one in between; matrices like the Gram matrix, for a factor and, of
    units, for two that are down-dated; and blocks of rows, of which several exist at one time. Measured on matrices of
    1 to 4 million entries, all together was from what is needed to four times that.
    """
    inputs = next((parameter.auxiliary[suffix] for suffix in (IN_GRAM, INPUTS) if suffix in parameter.auxiliary), None)
    experts = 1 if inputs is None or len(inputs.shape) < _STACKED_DIMS else inputs.shape[0]
    gram = 0 if inputs is None else experts * inputs.shape[-1] ** 2
    numbers = _number_bytes(parameter) * (_WEIGHTS * parameter.entries + _MATRICES * gram)
    blocks = _BLOCK_BYTES * min(parameter.entries, _BLOCK_ENTRIES) + _CHECK_BYTES * min(gram, _BLOCK_ENTRIES)
    return numbers + blocks + _FIXED_BYTES


def _number_bytes(parameter: PlannedParameter) -> int:
    """Return the bytes of a weight as it is computed with: fp64 for fp64, else fp32."""
    return 8 if parameter.dtype == "F64" else 4


def _is_changed_bias(parameter: PlannedParameter) -> bool:
    return bool(parameter.stages) and not parameter.rules


def _mask_result_bytes(parameter: PlannedParameter) -> int:
    """Return the bytes of a mask of one byte per entry that is made for the result: `w_mask` of a selected weight."""
    made = parameter.name + MASK
    return sum(spec.nbytes for spec in parameter.results if spec.name == made) if parameter.rules else 0


def _scale_bytes(parameter: PlannedParameter) -> int:
    """Return the bytes of the scales as fp64 numbers, which ranking multiplies by."""
    return 8 * prod(parameter.scale.shape) if parameter.scale is not None and parameter.rules else 0


def _masks(parameter: PlannedParameter, *, counts_zeros: bool, keeps_prior: bool) -> int:
    """Return how many packed masks of a parameter exist at one time: a rule needs the one before while it makes one.

    `keeps_prior`: the first one is needed until the end, because units are ranked by what was sent.
    """
    if not parameter.rules:
        return 0 if parameter.passes_through else 1
    several = len(parameter.stages) > 1 or parameter.pair_mask is not None or counts_zeros
    return (2 if several else 1) + keeps_prior
