"""What is removed as whole experts, layers and tokens, as text for people."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from pruning_client.cli.tables import Table, bytes_text, percent, shorten
from pruning_client.results.group_report import GroupReport
from pruning_client.results.plan import Plan
from pruning_client.results.removed_bytes import removed_bytes
from pruning_client.rules.surgery import units_text
from pruning_proto.counted import counted

_NOUNS: Final = {"layers": "layer", "vocabulary": "token"}
_LONGEST_LIST: Final = 40
"""Characters of a list of units; JSON has all of it."""


def removed_text(groups: Sequence[GroupReport]) -> str:
    """Return how many units are removed: `2 of 8 layers and 12 of 24 experts, in 5 groups`."""
    units: Counter[str] = Counter()
    removed: Counter[str] = Counter()
    for group in groups:
        units[_noun(group)] += group.units
        removed[_noun(group)] += len(group.pruned)
    parts = [f"{removed[noun]:,} of {counted(count, noun)}" for noun, count in units.items()]
    return f"{_listed(parts)}, in {counted(len(groups), 'group')}"


def removal_lines(plan: Plan, width: int | None) -> list[str]:
    """Return what a plan removes of whole units: a table of their groups, and sums."""
    found = [each for each in zip(plan.groups, removed_bytes(plan), strict=True) if each[0].is_of_whole_units]
    groups = [group for group, _ in found]
    rows = [_row(group, size) for group, size in found]
    known = [(group, size) for group, size in found if size is not None]
    head = ("group", "units", "kept", "removed", "bytes", "which are removed")
    lines = [Table(head, rows, optional=("bytes", "kept", "units", "removed")).render(width), ""]
    if known:
        sizes = sum(size for _, size in known)
        share = percent(sizes, plan.model.weight_bytes)
        of_all = f"{bytes_text(sizes)} of {bytes_text(plan.model.weight_bytes)} ({share})"
        lines.append(f"would be removed: {removed_text([group for group, _ in known])}; {of_all}")
    if plan.skipped:
        lines.append(f"{bytes_text(plan.skipped_bytes)} need not be sent")
    if len(known) < len(groups):
        lines.append("?: depends on weights, which --dry-run reads")
    return [*lines, ""]


def _listed(parts: Sequence[str]) -> str:
    """Return parts of a sentence, with commas and an `and`."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def _row(group: GroupReport, size: int | None) -> tuple[str, ...]:
    if size is None:
        return (group.name, f"{group.units:,}", "?", "?", "?", "?")
    which = shorten(units_text(group.pruned), _LONGEST_LIST) or "-"
    return (group.name, f"{group.units:,}", f"{len(group.kept):,}", f"{len(group.pruned):,}", bytes_text(size), which)


def _noun(group: GroupReport) -> str:
    return _NOUNS.get(group.map, "expert" if group.map.startswith("experts") else "unit")
