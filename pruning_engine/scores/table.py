"""The table of all scores. To add one, write its class in a file of its own and add the class here."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pruning_engine.scores.activation_norm import ActivationNorm
from pruning_engine.scores.custom_mask import CustomMask
from pruning_engine.scores.dead import Dead
from pruning_engine.scores.entries.alps import Alps
from pruning_engine.scores.entries.lamp import Lamp
from pruning_engine.scores.entries.relative_importance import RelativeImportance
from pruning_engine.scores.flap import Flap
from pruning_engine.scores.identity import Identity
from pruning_engine.scores.importance_scores import ImportanceScores
from pruning_engine.scores.magnitude import Magnitude
from pruning_engine.scores.method import Method
from pruning_engine.scores.obs import ObsScore
from pruning_engine.scores.random import Random
from pruning_engine.scores.score import Score
from pruning_engine.scores.units.glu_peak_to_peak import GluPeakToPeak
from pruning_engine.scores.units.listed_units import ListedUnits
from pruning_engine.scores.units.router_magnitude import RouterMagnitude
from pruning_engine.scores.units.unit_scores import UnitScores
from pruning_engine.scores.weighted_magnitude import WeightedMagnitude

SCORES: Final[Mapping[str, type[Score]]] = MappingProxyType(
    {
        score.field: score
        for score in (
            *(Magnitude, Random, ImportanceScores, CustomMask, Identity, Method, Dead),
            *(WeightedMagnitude, RelativeImportance, Lamp, ObsScore, Alps),
            *(Flap, UnitScores, ActivationNorm, GluPeakToPeak, RouterMagnitude, ListedUnits),
        )
    }
)
"""Every score, by its name on the wire."""
