"""What a caller asks for: the options of a call, the recipe and the model, checked and ready to be sent.

A new option of a call is a field of `PruneOptions`, a line of `PruneRequestSpec.message`, and a keyword of the verbs
of `Client` that take it; nothing between them names it.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
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
from pruning_client.statistics.gguf import is_gguf
from pruning_client.statistics.statistics import Statistics
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb

Path: TypeAlias = str | PathLike[str]

Rules: TypeAlias = pb.Rule | Sequence[pb.Rule] | pb.Recipe
"""What a caller may ask: one rule, several in order, or a recipe."""

ALLOWANCE_SECONDS: Final = 30.0
ALLOWANCE_BYTES_PER_SECOND: Final = 10 * 1000 * 1000

_LARGEST_SEED: Final = 2**64 - 1


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
        recipe=recipe_of(rules, options.seed),
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


def recipe_of(rules: Rules, seed: int | None) -> pb.Recipe:
    """Return the recipe of the caller's rules, with this seed, else the recipe's.

    Without either one is drawn here if a rule is random, so that sending the same again gives the same.
    Raises: RecipeError if there is no rule, or if the seed is not an integer of 64 bits. TypeError for other values.
    """
    recipe = pb.Recipe()
    if isinstance(rules, pb.Recipe):
        recipe.CopyFrom(rules)
    else:
        recipe.rules.extend(rules_in(rules))
    if not recipe.rules:
        raise recipe_error(Reason.INVALID_RECIPE, "recipe.rules", "a recipe needs at least one rule")
    if seed is not None:
        recipe.seed = _seed(seed)
    elif is_random(recipe) and not recipe.HasField("seed"):
        recipe.seed = secrets.randbits(64)
    return recipe


def is_random(recipe: pb.Recipe) -> bool:
    """Whether any rule is random, so that the seed matters."""
    return any(rule.score.WhichOneof("kind") == "random" for rule in recipe.rules)


def is_known_before_data(rule: pb.Rule) -> bool:
    """Whether the request itself says which units a rule prunes: by a list, by scores in the recipe, or by its seed."""
    is_random = rule.score.HasField("random") and is_of_whole_units(rule)
    return is_random or rule.score.HasField("listed") or bool(rule.score.unit_scores.groups)


def is_of_whole_units(rule: pb.Rule) -> bool:
    """Whether a rule is over units that can be removed as the file passes: experts, layers, rows of the vocabulary."""
    units = rule.granularity.units
    return units.map.startswith(WHOLE_UNITS) or any(UNIT in tie.tensor for group in units.groups for tie in group.ties)


def rules_in(rules: Rules) -> list[pb.Rule]:
    """Return the rules of a caller, in order. Raises: TypeError for what is none."""
    if isinstance(rules, pb.Recipe):
        return list(rules.rules)
    values: list[object] = [rules] if isinstance(rules, pb.Rule | str) or not isinstance(rules, Iterable) else [*rules]
    valid = [rule for rule in values if isinstance(rule, pb.Rule)]
    if len(valid) < len(values):
        raise TypeError(
            "rules are one Rule, several in order, or a Recipe: `pruning_client.rules` builds them, and "
            f"`rules.load_recipe(path)` reads a file; got {rules!r}"
        )
    return valid


def _seed(seed: int) -> int:
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise recipe_error(Reason.INVALID_RECIPE, "recipe.seed", f"a seed is an integer, got {seed!r}")
    if not 0 <= seed <= _LARGEST_SEED:
        raise recipe_error(Reason.INVALID_RECIPE, "recipe.seed", f"a seed is 0 to 2^64 - 1, got {seed}")
    return int(seed)
