"""What a caller asks for: the options of a call, the recipe and the model, checked and ready to be sent.

A new option of a call is a field of `PruneOptions`, a line of `PruneRequestSpec.message`, and a keyword of the verbs
of `Client` that take it; nothing between them names it.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path as FilePath
from typing import Final, TypeAlias

from pruning_client.checkpoints.file import Source
from pruning_client.checkpoints.model_type import model_type_beside
from pruning_client.checkpoints.opened import Checkpoint
from pruning_client.checkpoints.state_dict import StateDict, StateDictSource
from pruning_client.errors import recipe_error
from pruning_client.results.group_report import UNIT, WHOLE_UNITS
from pruning_client.results.model_warning import ModelWarning
from pruning_client.rules.recipe import Recipe
from pruning_client.rules.rule import Rule
from pruning_client.statistics.gguf import is_gguf
from pruning_client.statistics.statistics import Statistics
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb

Path: TypeAlias = str | PathLike[str]

Rules: TypeAlias = Rule | Sequence[Rule] | Recipe
"""What a caller may ask: one rule, several in order, or a recipe."""

ALLOWANCE_SECONDS: Final = 30.0
ALLOWANCE_BYTES_PER_SECOND: Final = 10 * 1000 * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneOptions:
    """The options of a call, beside the model and the rules.

    `seed` replaces the recipe's. `scan_sparsities` are for a scan; empty: the server's default.
    """

    output: "pb.OutputForm"
    seed: int | None = None
    digests: bool = False
    canonical_zero: bool = False
    compression: "pb.Compression" = pb.COMPRESSION_UNSPECIFIED
    statistics: Statistics | Path | None = None
    scan_sparsities: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneRequestSpec:
    """What is asked of which model: the same for every attempt of a call, its seed too.

    `model_type` is as in config.json; empty if it is not known.
    `statistics` are those that are not yet part of `source`, see `sent_statistics`. What belongs to those that are:
    `auxiliary_aliases`, `input_dims` by weight, and whether unused ones are to be ignored, for a plan.
    `warnings` are what this client found, for the report or the plan.
    """

    source: Source
    recipe: pb.Recipe
    options: PruneOptions
    model_type: str = ""
    statistics: Statistics | None = None
    auxiliary_aliases: Mapping[str, str] = field(default_factory=dict)
    input_dims: Mapping[str, int] = field(default_factory=dict)
    skips_unused: bool = False
    warnings: tuple[ModelWarning, ...] = ()

    @property
    def message(self) -> pb.PruneOptions:
        """The first message of a call."""
        return pb.PruneOptions(
            recipe=self.recipe,
            output=self.options.output,
            total_bytes=self.source.layout.total_bytes,
            aliases=self.source.aliases,
            digests=self.options.digests,
            canonical_zero=self.options.canonical_zero,
            compression=self.options.compression,
            scan_sparsities=self.options.scan_sparsities,
            model_type=self.model_type,
            input_dims=self.input_dims,
            auxiliary_aliases=self.auxiliary_aliases,
            skip_unused_auxiliary=self.skips_unused,
            leaves_out_skipped=self.leaves_out_skipped,
        )

    @property
    def leaves_out_skipped(self) -> bool:
        """Whether the bytes of units that are removed, which the plan knows, are not sent. Digests are of all bytes."""
        if self.options.output != pb.OUTPUT_FORM_REMOVED or self.options.digests:
            return False
        return any(is_known_before_data(rule) for rule in self.recipe.rules)

    @property
    def is_plan(self) -> bool:
        """Whether only a plan is asked for."""
        return self.options.output == pb.OUTPUT_FORM_PLAN

    @property
    def default_timeout(self) -> float:
        """Seconds that the call may take where the caller sets no limit: enough for this model on a slow line."""
        return ALLOWANCE_SECONDS + self.source.layout.total_bytes / ALLOWANCE_BYTES_PER_SECOND


def request_of(
    source: StateDict | Path | Checkpoint,
    rules: Rules,
    options: PruneOptions,
    importance_scores: StateDict | None = None,
    masks: StateDict | None = None,
) -> PruneRequestSpec:
    """Return what is asked of a state dict or a file. A seed that is needed and not given is drawn here.

    Raises: PruningError, OSError, TypeError, ValueError for what is not valid.
    """
    if not isinstance(source, str | PathLike | Checkpoint):
        return _request(StateDictSource(source, importance_scores, masks), rules, options, "")
    if importance_scores or masks:
        raise ValueError("a file brings its scores and masks along, as `w:scores` and `w:mask` beside `w`")
    return request_of_file(source, rules, options)


def request_of_file(source: Path | Checkpoint, rules: Rules, options: PruneOptions) -> PruneRequestSpec:
    """Return what is asked of a file, or of several behind one path. Raises: as `request_of`."""
    checkpoint = source if isinstance(source, Checkpoint) else Checkpoint(FilePath(source))
    return _request(checkpoint.open(), rules, options, model_type_beside(checkpoint.path))


def _request(source: Source, rules: Rules, options: PruneOptions, model_type: str) -> PruneRequestSpec:
    statistics = _statistics(options.statistics)
    return PruneRequestSpec(
        source=source,
        recipe=recipe_of(rules, options.seed).to_message(),
        options=options,
        model_type=model_type or ("" if statistics is None else statistics.model_type),
        statistics=statistics,
    )


def _statistics(value: Statistics | Path | None) -> Statistics | None:
    if value is None or isinstance(value, Statistics):
        return value
    if not isinstance(value, str | PathLike):
        raise TypeError(
            "statistics are a Statistics, or the path of a file that its `save` wrote, or of an imatrix in GGUF; got "
            f"{type(value).__name__}"
        )
    return Statistics.from_imatrix(value) if is_gguf(value) else Statistics.load(value)


def recipe_of(rules: Rules, seed: int | None) -> Recipe:
    """Return the recipe of the caller's rules, with this seed, else the recipe's.

    Without either one is drawn here if a rule is random, so that sending the same again gives the same.
    Raises: RecipeError if there is no rule, or if the seed is not an integer of 64 bits. TypeError for other values.
    """
    recipe = rules if isinstance(rules, Recipe) else Recipe(rules)
    if not recipe.rules:
        raise recipe_error(Reason.INVALID_RECIPE, "recipe.rules", "a recipe needs at least one rule")
    if seed is not None:
        return Recipe(recipe.rules, seed=seed)
    return with_seed(recipe, secrets.randbits(64))


def with_seed(recipe: Recipe, seed: int) -> Recipe:
    """Return a recipe with a seed, if it is random and has none."""
    return Recipe(recipe.rules, seed=seed) if recipe.is_random and recipe.seed is None else recipe


def is_known_before_data(rule: pb.Rule) -> bool:
    """Whether the request itself says which units a rule prunes: by a list, by scores in the recipe, or by its seed."""
    is_random = rule.score.HasField("random") and is_of_whole_units(rule)
    return is_random or rule.score.HasField("listed") or bool(rule.score.unit_scores.groups)


def is_of_whole_units(rule: pb.Rule) -> bool:
    """Whether a rule is over units that can be removed as the file passes: experts, layers, rows of the vocabulary."""
    units = rule.granularity.units
    return units.map.startswith(WHOLE_UNITS) or any(UNIT in tie.tensor for group in units.groups for tie in group.ties)
