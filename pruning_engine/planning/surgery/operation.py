"""Carries out the rules whose choice is known before any data, one after the other, on names and shapes.

A rule is carried out here if its units own whole tensors, or are positions along dim 0 only: these are runs of bytes of
the file. Positions along other dims are left to the rest of the pipeline, which removes them as usual.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, NoReturn

import numpy as np

from pruning_engine.checkpoints.parameters import Parameters, TensorDescription, find_parameters
from pruning_engine.dtypes import PRUNABLE
from pruning_engine.errors import MismatchError, Reason, RequestPart
from pruning_engine.granularities.resolved_groups import ResolvedGroup, ResolvedSlice
from pruning_engine.granularities.units import Units
from pruning_engine.kernels.backend import BoolArray
from pruning_engine.planning.options import PlanOptions
from pruning_engine.planning.surgery.known_units import may_be_known, with_known
from pruning_engine.planning.surgery.renumbering import renamed, result_names
from pruning_engine.planning.surgery.row_cuts import RowCuts, check_whole_bytes, removed_runs
from pruning_engine.planning.surgery.surgery import Described, Runs, Surgery
from pruning_engine.planning.units.group_resolution import Finding
from pruning_engine.planning.units.numbered_names import NumberedNames
from pruning_engine.planning.units.rule_groups import groups_of_rule
from pruning_engine.recipe import OutputForm, Recipe
from pruning_engine.scale_layout import UnfitScaleError, scale_layout

_LEAVES_OUT: Final = (OutputForm.REMOVED, OutputForm.REPORT)
"""Output formats in which whole tensors can be left out."""


def operate(
    recipe: Recipe,
    tensors: Sequence[TensorDescription],
    aliases: Mapping[str, str],
    output: OutputForm,
    options: PlanOptions,
) -> Surgery:
    """Return what remains of a checkpoint. Raises: RecipeError, MismatchError naming the rule and the tensor."""
    known = [position for position, rule in enumerate(recipe.rules) if may_be_known(rule, recipe.seed)]
    if not known or not (output in _LEAVES_OUT or options.is_planned_only):
        return Surgery(tensors=tensors)
    parameters = find_parameters(tensors, aliases, options.auxiliary_aliases)
    operation = _Operation(recipe, parameters)
    for position in known:
        operation.carry_out(position)
    operation.check_aliases(aliases)
    return operation.result(tensors)


def remaining_options(options: PlanOptions, surgery: Surgery) -> PlanOptions:
    """Return the options without what they say of tensors that are left out."""
    if surgery.changes_nothing:
        return options
    gone = {each.name for each in surgery.parameters if each.is_removed}
    return replace(
        options,
        input_dims={name: dim for name, dim in options.input_dims.items() if name not in gone},
        auxiliary_aliases={
            name: target for name, target in options.auxiliary_aliases.items() if name.rpartition(":")[0] not in gone
        },
    )


class _Operation:
    """The checkpoint as the rules so far have left it."""

    def __init__(self, recipe: Recipe, parameters: Parameters) -> None:
        self._recipe = recipe
        self._original = self._parameters = parameters
        self._shared: dict[str, set[str]] = {}
        for alias in parameters.auxiliary_aliases:
            self._shared.setdefault(alias.parameter, set()).add(alias.suffix)
        self._removed: set[str] = set()
        self._gone: dict[str, frozenset[int]] = {}
        self._lowered: dict[str, frozenset[int]] = {}
        self._cuts = RowCuts()
        self._cut_by: dict[str, int] = {}
        self._left: dict[int, tuple[ResolvedGroup, ...]] = {}
        self._done: list[tuple[int, ResolvedGroup]] = []

    def carry_out(self, position: int) -> None:
        """Carry out a rule, if it is one for here."""
        rule, path = self._recipe.rules[position], f"rules[{position}]"
        if not isinstance(rule.granularity, Units):
            return
        finding = Finding(takes_any_dtype=True, gone=self._gone)
        groups = groups_of_rule(rule, rule.granularity, self._parameters, path, finding)
        if not _is_for_here(groups, is_random=rule.score.is_random):
            return
        found = with_known(self._recipe, position, groups, [_there(group) for group in groups])
        for group in found:
            self._leave_out(group, position)
        left = [(group, tuple(tie for tie in group.ties if tie.dim)) for group in found]
        for group, ties in left:
            self._check_left(group, ties, path)
        self._left[position] = tuple(replace(group, ties=ties, numbered=()) for group, ties in left if ties)
        self._done += [(position, group) for group in found]
        self._parameters = self._remaining()

    def check_aliases(self, aliases: Mapping[str, str]) -> None:
        """Refuse tied tensors of which one is numbered. Raises: MismatchError naming the alias."""
        names = NumberedNames([*aliases, *aliases.values()], "aliases")
        for begin in self._gone if aliases else ():
            for by_number in names.after(begin).values():
                name = next(iter(by_number.values()))
                alias = next(alias for alias, target in aliases.items() if name in (alias, target))
                raise MismatchError(
                    Reason.INVALID_ALIAS,
                    f"alias {alias!r} ties tensor {aliases[alias]!r}, and {name!r} belongs to a unit that is left out "
                    "or renumbered; send each of them as a tensor of its own",
                    field=f'aliases["{alias}"]',
                    part=RequestPart.OPTIONS,
                    tensor=name,
                )
        for other in self._original.auxiliary_aliases:
            owner = other.tensor.name.rpartition(":")[0]
            if owner in self._removed and other.parameter not in self._removed:
                raise MismatchError(
                    Reason.INVALID_ALIAS,
                    f"auxiliary alias {other.name!r} is for tensor {other.tensor.name!r}, which belongs to a unit that "
                    "is left out; send it under its own name",
                    field=other.field,
                    part=RequestPart.OPTIONS,
                    tensor=other.name,
                )

    def result(self, tensors: Sequence[TensorDescription]) -> Surgery:
        """Return what remains of these tensors."""
        removed = frozenset(name for parameter in self._removed for name in self._tensors_of(parameter))
        runs = {name: self._cuts.of(name) for name in self._cuts.runs}
        return Surgery(
            tensors=tuple(self._cuts.cut(spec) for spec in tensors if spec.name not in removed),
            removed=removed,
            removed_rows={name: each for name, each in runs.items() if each is not None and name not in removed},
            result_names=self._result_names(),
            groups=tuple(group.report(position, group.kept_flags) for position, group in self._done),
            left=self._left,
            parameters=tuple(
                Described(name, spec, name in self._removed) for name, spec in self._original.weights.items()
            ),
        )

    def _leave_out(self, group: ResolvedGroup, position: int) -> None:
        kept, path = group.kept_flags, f"rules[{position}].granularity.units"
        numbers = frozenset(np.flatnonzero(~kept).tolist())
        for each in group.numbered:
            self._removed.update(name for unit, names in each.owned.items() if not kept[unit] for name in names)
            self._gone[each.begin] = self._gone.get(each.begin, frozenset()) | numbers
            if not group.keeps_numbers:
                self._lowered[each.begin] = self._lowered.get(each.begin, frozenset()) | numbers
        for tie in group.ties:
            if tie.dim == 0:
                self._cut(tie, kept, position, path)

    def _cut(self, tie: ResolvedSlice, kept: BoolArray, position: int, path: str) -> None:
        first = self._cut_by.setdefault(tie.parameter, position)
        if first != position:
            _refuse(
                path,
                tie.parameter,
                f"rules[{first}] already leaves out positions along dim 0 of tensor {tie.parameter!r}; put both into "
                "one rule, or prune in two calls",
            )
        runs = removed_runs(tie, kept, path)
        mask = self._original.pair_masks.get(tie.parameter)
        for spec in (self._original.weights[tie.parameter], *([] if mask is None else [mask])):
            check_whole_bytes(spec, path)
            self._cuts.add(spec.name, runs, path)
        if tie.parameter in self._original.scales:
            self._cut_scale(tie, runs, path)

    def _cut_scale(self, tie: ResolvedSlice, runs: Runs, path: str) -> None:
        """Leave out the scales of blocks that are left out. Raises: MismatchError for blocks that are not whole."""
        scale, *_ = self._original.scales[tie.parameter]
        try:
            layout = scale_layout(self._original.weights[tie.parameter].shape, scale.shape)
        except UnfitScaleError:
            _refuse(path, scale.name, f"scale {scale.name!r} fits no blocks of {tie.parameter!r}")
        if layout.counts[0] == 1:
            return
        if not tie.has_whole_blocks(layout.blocks[0]):
            _refuse(
                path,
                tie.parameter,
                f"tensor {tie.parameter!r} has one scale for every {layout.blocks[0]} positions of dim 0, and units "
                "are not whole blocks of these; prune the model before it is quantized",
            )
        self._cuts.add(scale.name, runs // layout.blocks[0], path)

    def _check_left(self, group: ResolvedGroup, ties: Sequence[ResolvedSlice], path: str) -> None:
        for tie in ties:
            dtype = self._parameters.weights[tie.parameter].dtype
            if dtype not in PRUNABLE:
                _refuse(
                    f"{path}.granularity.units",
                    tie.parameter,
                    f"group {group.name!r}: tensor {tie.parameter!r} is {dtype}, of which only positions along dim 0 "
                    f"can be left out, not along dim {tie.dim}",
                )

    def _remaining(self) -> Parameters:
        """Return the parameters that remain, smaller where positions are left out."""
        original, gone = self._original, self._removed
        return Parameters(
            weights={name: self._cuts.cut(spec) for name, spec in original.weights.items() if name not in gone},
            pair_masks={name: self._cuts.cut(spec) for name, spec in original.pair_masks.items() if name not in gone},
            auxiliary={name: each for name, each in original.auxiliary.items() if name not in gone},
            scales={
                name: tuple(map(self._cuts.cut, each)) for name, each in original.scales.items() if name not in gone
            },
            aliases={name: each for name, each in original.aliases.items() if name not in gone},
        )

    def _tensors_of(self, parameter: str) -> list[str]:
        """Return the names of all tensors of a parameter, without those that are another's."""
        original = self._original
        shared = self._shared.get(parameter, ())
        auxiliary = original.auxiliary.get(parameter, {})
        mask = original.pair_masks.get(parameter)
        return [
            original.weights[parameter].name,
            *([] if mask is None else [mask.name]),
            *(spec.name for suffix, spec in auxiliary.items() if suffix not in shared),
            *(spec.name for spec in original.scales.get(parameter, ())[:1]),
        ]

    def _result_names(self) -> dict[str, str]:
        names = NumberedNames(self._original.weights, "rules")
        found = {}
        for name, changes in result_names(names, self._lowered).items():
            if name not in self._removed:
                found[name] = renamed(name, changes)
                for scale in self._original.scales.get(name, ())[:1]:
                    found[scale.name] = renamed(scale.name, changes)
        return found


def _is_for_here(groups: Sequence[ResolvedGroup], *, is_random: bool) -> bool:
    """Whether units own whole tensors, or positions along dim 0 only; of random ones, whole tensors."""
    has_numbers = any(group.numbered for group in groups)
    return has_numbers or (not is_random and all(tie.dim == 0 for group in groups for tie in group.ties))


def _there(group: ResolvedGroup) -> BoolArray:
    """Mark the units that no earlier rule has removed."""
    flags = np.full(group.units, not group.numbered, np.bool_)
    for each in group.numbered:
        flags[list(each.owned)] = True
    return flags


def _refuse(path: str, tensor: str, text: str) -> NoReturn:
    raise MismatchError(Reason.TIE_MISFIT, f"{path}: {text}", field=path, tensor=tensor)
