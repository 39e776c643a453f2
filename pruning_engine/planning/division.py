"""A plan divided into parts that are carried out apart from each other: which parameters each of them needs.

Rules of global scope divide where their cuts can be searched: see `readings`. Every other stage at which parameters
wait for each other divides as far as each of its parameters is in one part; where they are in several, each of these
carries out all of them, and keeps the results that are its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pruning_engine.checkpoints.parameters import TensorDescription, described_bytes
from pruning_engine.planning.memory.footprints import Footprints
from pruning_engine.planning.memory.profile import MemoryStep, memory_profile
from pruning_engine.planning.plan import Plan, PlannedParameter
from pruning_engine.planning.readings import searchable
from pruning_engine.planning.stages import Stage

if TYPE_CHECKING:
    from pruning_engine.granularities.resolved_groups import ResolvedGroup

MOST_WORK: Final = 1.75
"""What all parts may do together, as a multiple of what the plan does at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPart:
    """One part of a plan. `own`: the parameters that it reports. `parameters`: all that it carries out.

    Both are in the plan's order. The others are decided together with its own, or have results in the part. `copies`:
    the scales of weights of other parts, by the names of the results that are the same bytes.
    """

    own: tuple[PlannedParameter, ...]
    parameters: tuple[PlannedParameter, ...]
    copies: Mapping[str, TensorDescription] = field(default_factory=dict)

    @property
    def source_bytes(self) -> int:
        """The bytes of all tensors that it needs."""
        tensors = {tensor.name: tensor for parameter in self.parameters for tensor in parameter.tensors}
        tensors.update((tensor.name, tensor) for tensor in self.copies.values())
        return sum(map(described_bytes, tensors.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class DividedPlan:
    """The parts of a plan, and the stages whose cuts are searched before. `indivisible`: why it cannot be divided."""

    parts: tuple[PlanPart, ...]
    searched: tuple[int, ...]
    indivisible: str | None


def divided(plan: Plan, places: Sequence[Sequence[str]]) -> DividedPlan:
    """Divide a plan by the results of each part, one at least. Parameters without results go with those before them."""
    part_of = {name: part for part, names in enumerate(places) for name in names}
    places_of = [[part_of[spec.name] for spec in parameter.results] for parameter in plan.parameters]
    owners: list[int] = []
    for found in places_of:
        owners.append(found[0] if found else owners[-1] if owners else 0)
    return _divided(plan, owners, places_of, len(places))


def divided_by_size(plan: Plan, part_bytes: int) -> DividedPlan:
    """Divide a plan that has no results into runs of parameters that take up to `part_bytes`, unless one takes more."""
    owners: list[int] = []
    part = filled = 0
    for parameter in plan.parameters:
        size = sum(map(described_bytes, parameter.tensors))
        if owners and filled + size > part_bytes:
            part, filled = part + 1, 0
        filled += size
        owners.append(part)
    return _divided(plan, owners, [[]] * len(owners), part + 1)


def _divided(plan: Plan, owners: Sequence[int], places_of: Sequence[Sequence[int]], count: int) -> DividedPlan:
    searched = searchable(plan)
    own: list[list[int]] = [[] for _ in range(count)]
    here: list[set[int]] = [set() for _ in range(count)]
    copies: list[dict[str, TensorDescription]] = [{} for _ in range(count)]
    for index, (owner, places) in enumerate(zip(owners, places_of, strict=True)):
        own[owner].append(index)
        parameter = plan.parameters[index]
        for part, spec in zip(places, parameter.results, strict=False):
            if part != owner and parameter.scale is not None and spec is parameter.results[-1]:
                copies[part][spec.name] = parameter.scale
            else:
                here[part].add(index)
        here[owner].add(index)
    together = _together(plan, searched)
    for indices in here:
        indices.update([other for index in indices for other in together.get(index, ())])
    parts = tuple(
        PlanPart(
            own=tuple(plan.parameters[index] for index in each),
            parameters=tuple(plan.parameters[index] for index in sorted(needed)),
            copies=copied,
        )
        for each, needed, copied in zip(own, here, copies, strict=True)
    )
    return DividedPlan(parts=parts, searched=searched, indivisible=_indivisible(plan, searched, parts))


def profile_of(plan: Plan, part: PlanPart, searched: Sequence[int]) -> list[MemoryStep]:
    """Return what is held as the tensors of a part arrive, parameter by parameter."""
    groups: dict[int, list[ResolvedGroup]] = {}
    for stage in plan.stages:
        if stage.groups:
            groups.setdefault(stage.rule, []).extend(stage.groups)
    footprints = Footprints(plan.recipe, groups)
    arrivals = {tensor.name: tensor for parameter in part.parameters for tensor in parameter.tensors}
    barriers = [number for number, stage in enumerate(plan.stages) if stage.is_barrier and number not in searched]
    return list(memory_profile([*map(footprints.of, part.parameters)], list(arrivals.values()), barriers))


def _together(plan: Plan, searched: Sequence[int]) -> Mapping[int, Sequence[int]]:
    """Return the parameters that are decided together with each, itself included, if it waits for any."""
    waits = {number for number, stage in enumerate(plan.stages) if stage.is_barrier} - set(searched)
    first: dict[int, int] = {}
    parent = list(range(len(plan.parameters)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    waiting = [index for index, parameter in enumerate(plan.parameters) if waits.intersection(parameter.stages)]
    for index in waiting:
        for stage in waits.intersection(plan.parameters[index].stages):
            parent[root(index)] = root(first.setdefault(stage, index))
    members: dict[int, list[int]] = {}
    for index in waiting:
        members.setdefault(root(index), []).append(index)
    return {index: members[root(index)] for index in waiting}


def _indivisible(plan: Plan, searched: Sequence[int], parts: Sequence[PlanPart]) -> str | None:
    """Return why a plan is better carried out at once; None if it is not."""
    whole = PlanPart(own=plan.parameters, parameters=plan.parameters).source_bytes
    waits = [number for number, stage in enumerate(plan.stages) if stage.is_barrier and number not in searched]
    if not waits or sum(part.source_bytes for part in parts) <= MOST_WORK * whole:
        return None
    holders = {
        number: sum(any(number in parameter.stages for parameter in part.own) for part in parts) for number in waits
    }
    number = max(waits, key=holders.__getitem__)
    return _why(plan, plan.stages[number], holders[number])


def _why(plan: Plan, stage: Stage, parts: int) -> str:
    rule = plan.recipe.rules[stage.rule]
    path = f"rules[{stage.rule}]"
    if stage.groups:
        names = ", ".join(repr(group.name) for group in stage.groups[:2])
        return f"{path} decides groups of units together ({names}) whose tensors are in {parts} parts"
    if rule.allocation is not None and rule.allocation.is_barrier:
        return f"{path} divides its amount by what is measured of all its tensors, which are in {parts} parts"
    return f"{path} ranks tensors that are in {parts} parts against each other, and not by single keys"
