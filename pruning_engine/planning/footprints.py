"""How many bytes each parameter of a plan takes while it is held."""

from collections.abc import Mapping

from pruning_engine.checkpoints.auxiliary_tensors import packed_bytes
from pruning_engine.checkpoints.parameters import tensor_bytes
from pruning_engine.granularities.channels import CHANNEL_BYTES
from pruning_engine.granularities.granularity import Granularity
from pruning_engine.planning.memory import Footprint
from pruning_engine.planning.plan import PlannedParameter
from pruning_engine.planning.stages import Groups
from pruning_engine.recipe import Prior, Recipe


class Footprints:
    """What each parameter takes while it is held. Cached for each set of rules: a recipe may have 100 of them."""

    def __init__(self, recipe: Recipe, groups: Groups) -> None:
        self._recipe = recipe
        self._positions = _coupled_positions(groups)
        self._demands: dict[tuple[int, ...], tuple[bool, frozenset[Granularity]]] = {}

    def of(self, parameter: PlannedParameter) -> Footprint:
        """Return the footprint of one parameter."""
        counts_zeros, granularities = self._of_rules(parameter.rules)
        positions = self._positions.get(parameter.name, 0)
        ranking = max((granularity.ranking_bytes(parameter.shape) for granularity in granularities), default=0)
        masks = _masks(parameter, counts_zeros=counts_zeros, keeps_prior=bool(positions))
        return Footprint(
            sources=parameter.sources,
            stages=parameter.stages,
            source_bytes=sum(map(tensor_bytes, parameter.tensors)),
            mask_bytes=masks * packed_bytes(parameter.entries) + ranking + CHANNEL_BYTES * positions,
            result_bytes=sum(spec.nbytes for spec in parameter.results),
            made_bytes=parameter.entries if len(parameter.results) > 1 and parameter.rules else 0,
        )

    def _of_rules(self, rules: tuple[int, ...]) -> tuple[bool, frozenset[Granularity]]:
        """Return whether one of these rules counts zeros as pruned, and the granularities that they rank."""
        if rules not in self._demands:
            asked = [self._recipe.rules[position] for position in rules]
            counts_zeros = any(rule.prior is Prior.ZEROS for rule in asked)
            self._demands[rules] = counts_zeros, frozenset(rule.granularity for rule in asked)
        return self._demands[rules]


def _coupled_positions(groups: Groups) -> Mapping[str, int]:
    """Return how many positions of each parameter's dims are coupled, all rules together."""
    found: dict[str, int] = {}
    for tie in (tie for each in groups.values() for group in each for tie in group.ties):
        found[tie.parameter] = found.get(tie.parameter, 0) + tie.units * tie.unit_positions
    return found


def _masks(parameter: PlannedParameter, *, counts_zeros: bool, keeps_prior: bool) -> int:
    """Return how many packed masks of a parameter exist at one time: a rule needs the one before while it makes one.

    `keeps_prior`: the first one is needed until the end, because units are ranked by what was sent.
    """
    if not parameter.rules:
        return 0 if parameter.passes_through else 1
    several = len(parameter.stages) > 1 or parameter.pair_mask is not None or counts_zeros
    return (2 if several else 1) + keeps_prior
