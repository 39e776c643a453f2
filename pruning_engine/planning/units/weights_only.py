"""Channels of transformers that a rule ranks by their weights alone, which says little about what they compute."""

from collections.abc import Iterator
from typing import Final

from pruning_engine.granularities.units import Units
from pruning_engine.recipe import GluPeakToPeak, Magnitude, Recipe
from pruning_engine.report import ModelWarning, WarningKind

_OF_TRANSFORMERS: Final = frozenset({"llama_mlp", "llama_kv_groups", "bert_ffn"})
"""The built-in maps of channels that statistics rank much better. Of convolutions it is not known."""


def weights_only_warnings(recipe: Recipe) -> Iterator[ModelWarning]:
    """Yield one warning for each rule that ranks channels of transformers without statistics."""
    for position, rule in enumerate(recipe.rules):
        units = rule.granularity
        if (
            isinstance(rule.score, Magnitude | GluPeakToPeak)
            and isinstance(units, Units)
            and units.map in _OF_TRANSFORMERS
        ):
            yield ModelWarning(
                kind=WarningKind.UNITS_BY_WEIGHTS,
                tensor=None,
                message=f"rules[{position}] ranks channels of map {units.map!r} by their weights alone, which says "
                "little about what they compute: on a small language model it was worse than random channels, and on "
                "every model much worse than statistics; collect those of the inputs "
                "(pruning_client.torch.collect_statistics) and rank by obs or activation_norm, with update refit",
            )
