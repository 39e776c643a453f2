"""What is asked: recipes, rules and their parts, as frozen values. Imports no tensor library."""

from typing import Final

from pruning_engine.allocations.allocation import Allocation, Bounds
from pruning_engine.allocations.erk import ErdosRenyiKernel
from pruning_engine.allocations.least_predicted_error import LeastPredictedError
from pruning_engine.allocations.owl import Owl
from pruning_engine.granularities.channel_groups import ChannelGroup, ChannelSlice
from pruning_engine.granularities.channels import Channels
from pruning_engine.granularities.entries import Entries
from pruning_engine.granularities.entry_blocks import Blocks
from pruning_engine.granularities.granularity import Granularity
from pruning_engine.granularities.n_of_m import NOfM
from pruning_engine.granularities.units import Units
from pruning_engine.norm import DEFAULT_NORM, NamedNorm, Norm
from pruning_engine.recipe.amounts import Amount, Count, Fraction, Kept, Sparsity
from pruning_engine.recipe.recipe import OutputForm, Prior, Recipe, Rule, Selector, default_scope
from pruning_engine.recipe.validation import check
from pruning_engine.scope import Scope
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
from pruning_engine.scores.method import Argument, Method
from pruning_engine.scores.obs import ObsScore
from pruning_engine.scores.random import Random
from pruning_engine.scores.score import Score
from pruning_engine.scores.table import SCORES
from pruning_engine.scores.units.glu_peak_to_peak import GluPeakToPeak
from pruning_engine.scores.units.listed_units import ListedUnits
from pruning_engine.scores.units.router_magnitude import RouterMagnitude
from pruning_engine.scores.units.unit_list import UnitList
from pruning_engine.scores.units.unit_scores import UnitScores, UnitValues
from pruning_engine.scores.weighted_magnitude import WeightedMagnitude
from pruning_engine.updates.bias_compensation import BiasCompensation
from pruning_engine.updates.refit import Refit
from pruning_engine.updates.sparsegpt import SparseGpt
from pruning_engine.updates.swaps import Swaps
from pruning_engine.updates.update import Update

__all__ = [
    "DEFAULT_NORM",
    "RANKING",
    "ActivationNorm",
    "Allocation",
    "Alps",
    "Amount",
    "Argument",
    "BiasCompensation",
    "Blocks",
    "Bounds",
    "ChannelGroup",
    "ChannelSlice",
    "Channels",
    "Count",
    "CustomMask",
    "Dead",
    "Entries",
    "ErdosRenyiKernel",
    "Flap",
    "Fraction",
    "GluPeakToPeak",
    "Granularity",
    "Identity",
    "ImportanceScores",
    "Kept",
    "Lamp",
    "LeastPredictedError",
    "ListedUnits",
    "Magnitude",
    "Method",
    "NOfM",
    "NamedNorm",
    "Norm",
    "ObsScore",
    "OutputForm",
    "Owl",
    "Prior",
    "Random",
    "Recipe",
    "Refit",
    "RelativeImportance",
    "RouterMagnitude",
    "Rule",
    "Scope",
    "Score",
    "Selector",
    "SparseGpt",
    "Sparsity",
    "Swaps",
    "UnitList",
    "UnitScores",
    "UnitValues",
    "Units",
    "Update",
    "WeightedMagnitude",
    "check",
    "default_scope",
    "score_field",
]

RANKING: Final = tuple(score for score in SCORES.values() if score.ranks)
"""The scores that rank, and so take an amount, a granularity and a scope."""


def score_field(score: Score) -> str:
    """Return the name of a score in a recipe's paths."""
    return score.field
