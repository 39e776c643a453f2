"""Units that are ranked before they are removed: a plan, a report on the tensors that rank them, then the removal.

Experts, layers and rows of the vocabulary are removed as the file passes if it is known before which they are. Where
their score depends on weights, such as those of the routers, a small file of only these is ranked first; the rule then
lists the units that this report keeps. `decided` makes no calls: it yields what is asked first, and takes the outcomes.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pruning_client.calls.outcome import Outcome, whole_report
from pruning_client.calls.request import PruneRequestSpec, is_of_whole_units
from pruning_client.checkpoints.selected import SelectedSource
from pruning_client.results.group_report import UNIT, GroupReport
from pruning_client.results.model_warning import ModelWarning
from pruning_client.results.plan import Plan
from pruning_client.results.report import Report
from pruning_proto.names import AUXILIARY, MASK, ORIG, scale_names
from pruning_proto.safetensors.header import Layout, TensorEntry
from pruning_proto.v1 import pruning_pb2 as pb

_RANKED: Final = ("magnitude", "router_magnitude", "random")
_OUTPUTS: Final = (pb.OUTPUT_FORM_REMOVED, pb.OUTPUT_FORM_REPORT, pb.OUTPUT_FORM_PLAN)
"""Of a plan and a report, so that they say what the removal would do."""

_SMALL: Final = 1 / 3
"""Up to this part of a file is read twice; with more, the server ranks and removes in one call."""

_BITS_FROM: Final = 64
"""Units from which on a list is sent as bits."""


def decided(request: PruneRequestSpec) -> Generator[PruneRequestSpec, Outcome, PruneRequestSpec]:
    """Return the request with the units listed that have to be ranked first; yield the requests of plan and report."""
    positions = [at for at, rule in enumerate(request.recipe.rules) if _may_be_ranked(rule)]
    if request.is_plan:  # which reads no more than the routers
        positions = [at for at in positions if request.recipe.rules[at].score.HasField("router_magnitude")]
    if request.options.output not in _OUTPUTS or not positions:
        return request
    plan = (yield _asked(request, pb.OUTPUT_FORM_PLAN)).plan
    tensors = _Tensors(request.source.layout)
    rankings = [found for at in positions if (found := _ranking(plan, tensors, at)) is not None]
    if not rankings:
        return request
    ranked = _ranked(request, tensors, rankings)
    outcome = yield ranked
    listed = _with_lists(request, rankings, whole_report(ranked, outcome))
    return replace(listed, warnings=(*request.warnings, *_of_amounts(plan, rankings)))


def _of_amounts(plan: Plan, rankings: Sequence["_Ranking"]) -> Iterator[ModelWarning]:
    """Yield the plan's warnings about amounts, which the rules have no more once units are listed."""
    beginnings = tuple(f"rules[{ranking.position}].amount " for ranking in rankings)
    return (warning for warning in plan.warnings if warning.message.startswith(beginnings))


def _may_be_ranked(rule: pb.Rule) -> bool:
    return is_of_whole_units(rule) and rule.score.WhichOneof("kind") in _RANKED and not rule.HasField("update")


@dataclass(frozen=True, slots=True)
class _Ranking:
    """A rule whose units are ranked first: its groups, and those of earlier rules that know what they prune."""

    position: int
    groups: Sequence[GroupReport]
    earlier: Sequence[GroupReport]

    @property
    def made_up(self) -> dict[str, int]:
        """The vectors that stand for units that are ranked by no tensor, by name."""
        return {_vector(group): group.units for group in self.groups if not group.scored}


class _Tensors:
    """The tensors of a file, by name and by the names of one tensor per unit."""

    def __init__(self, layout: Layout) -> None:
        self._entries = {entry.name: entry for entry in layout.tensors}
        self.buffer_bytes = layout.buffer_bytes

    def of(self, groups: Iterable[GroupReport]) -> dict[str, TensorEntry]:
        """Return the tensors that groups are ranked by, with their masks and scales."""
        names = {name for group in groups for tensor in group.scored for name in self._expanded(tensor, group.units)}
        beside = {other for name in names for other in _beside(name)}
        return {name: self._entries[name] for name in names | beside if name in self._entries}

    def has_rows(self, name: str, units: int) -> bool:
        """Whether each unit owns one position of the first dim of a tensor, or whole tensors."""
        entry = self._entries.get(name) or self._entries.get(name + ORIG)
        return UNIT in name or (entry is not None and entry.shape[:1] == (units,))

    def _expanded(self, tensor: str, units: int) -> Iterator[str]:
        prefix, separator, suffix = tensor.partition(UNIT)
        if not separator:
            yield tensor
        elif suffix.endswith("*"):
            numbers = {str(unit) for unit in range(units)}
            for name in self._entries:
                number, dot, rest = name.removeprefix(prefix).partition(".")
                if name.startswith(prefix) and number in numbers and (dot + rest).startswith(suffix[:-1]):
                    yield name
        else:
            yield from (f"{prefix}{unit}{suffix}" for unit in range(units))


def _beside(name: str) -> Iterator[str]:
    """Return the names of what belongs to a weight: the pair of a mask, auxiliary tensors, scales."""
    yield from (name + ORIG, name + MASK, *(name + suffix for suffix in AUXILIARY), *scale_names(name))


def _ranking(plan: Plan, tensors: _Tensors, position: int) -> _Ranking | None:
    """Return what a rule ranks first; None if the server is to rank and remove at once."""
    groups = [group for group in plan.groups if group.rule == position]
    scored = tensors.of(groups)
    is_small = sum(entry.end - entry.begin for entry in scored.values()) <= _SMALL * tensors.buffer_bytes
    is_numbered = any(UNIT in tensor for group in groups for tensor in group.tensors)
    has_rows = all(tensors.has_rows(tensor, group.units) for group in groups for tensor in group.scored)
    is_known = all(group.kept for group in groups)
    if is_known or not has_rows or not (is_small or is_numbered):
        return None
    names = {group.name for group in groups}
    earlier = [group for group in plan.groups if group.rule < position and group.name in names and group.kept]
    return _Ranking(position, groups, earlier)


def _ranked(request: PruneRequestSpec, tensors: _Tensors, rankings: Sequence[_Ranking]) -> PruneRequestSpec:
    """Return the request of a report on a file of only the tensors that units are ranked by."""
    entries = tensors.of(group for ranking in rankings for group in ranking.groups)
    vectors = {name: units for ranking in rankings for name, units in ranking.made_up.items()}
    recipe = pb.Recipe()
    if request.recipe.HasField("seed"):
        recipe.seed = request.recipe.seed
    for ranking in rankings:
        recipe.rules.extend(_rules(request.recipe.rules[ranking.position], ranking))
    asked = _asked(request, pb.OUTPUT_FORM_REPORT)
    source = SelectedSource(request.source, list(entries.values()), vectors)
    return replace(asked, source=source, recipe=recipe, auxiliary_aliases={}, input_dims={})


def _rules(rule: pb.Rule, ranking: _Ranking) -> Iterator[pb.Rule]:
    """Return the rule over groups of only what ranks them, after one with what earlier rules prune of these."""
    named = {group.name: _group(group) for group in ranking.groups}
    if ranking.earlier:
        lists = {_name(named[group.name]): _list(group) for group in ranking.earlier}
        before = pb.Rule(score=pb.Score(listed=pb.ListedUnits(groups=lists)))
        before.granularity.units.groups.extend(named[name] for name in {group.name for group in ranking.earlier})
        yield before
    ranked = pb.Rule()
    ranked.CopyFrom(rule)
    if rule.score.HasField("router_magnitude"):
        ranked.score.CopyFrom(pb.Score(magnitude=pb.Magnitude(norm=pb.Norm(p=1))))  # of rows of the router
    ranked.granularity.units.map = ""
    ranked.granularity.units.ClearField("groups")
    ranked.granularity.units.groups.extend(named.values())
    yield ranked


def _group(group: GroupReport) -> pb.Group:
    ties = [pb.Tie(tensor=tensor, scored=True) for tensor in group.scored or (_vector(group),)]
    return pb.Group(ties=ties, units=group.units)


def _name(group: pb.Group) -> str:
    """Return the name of a group without a pattern: that of its first tensor."""
    return group.ties[0].tensor


def _vector(group: GroupReport) -> str:
    return f"{group.name}.order"


def _with_lists(request: PruneRequestSpec, rankings: Sequence[_Ranking], report: Report) -> PruneRequestSpec:
    """Return the request with the units that a report keeps as lists."""
    kept = {group.tensors: group for group in report.groups}
    recipe = pb.Recipe()
    recipe.CopyFrom(request.recipe)
    for ranking in rankings:
        lists = {group.name: _list(kept[group.scored or (_vector(group),)]) for group in ranking.groups}
        _list_units(recipe.rules[ranking.position], lists)
    return replace(request, recipe=recipe)


def _list_units(rule: pb.Rule, lists: Mapping[str, pb.UnitList]) -> None:
    rule.score.CopyFrom(pb.Score(listed=pb.ListedUnits(groups=lists)))
    for name in ("amount", "scope"):
        rule.ClearField(name)
    for name in ("round_to", "always_kept"):
        rule.granularity.units.ClearField(name)


def _list(group: GroupReport) -> pb.UnitList:
    if group.units < _BITS_FROM:
        return pb.UnitList(kept=group.kept)
    bits = bytearray((group.units + 7) // 8)
    for unit in group.kept:
        bits[unit // 8] |= 1 << unit % 8
    return pb.UnitList(kept_bits=bytes(bits))


def _asked(request: PruneRequestSpec, output: "pb.OutputForm") -> PruneRequestSpec:
    """Return the same request with another output format."""
    options = replace(
        request.options,
        output=output,
        digests=False,
        canonical_zero=False,
        compression=pb.COMPRESSION_UNSPECIFIED,
    )
    return replace(request, options=options)
