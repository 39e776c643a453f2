"""The names of tensors after whole units were removed: those of removed units are gone, and the others renumbered.

A group couples one tensor per unit as `experts.{unit}.w1.weight`, or all of a unit as `layers.{unit}.*`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pruning_client.calls.described_tensors import refused
from pruning_client.results.group_report import UNIT, GroupReport
from pruning_client.results.plan import Plan

_ALL = "*"


@dataclass(frozen=True, slots=True)
class _Numbers:
    """The numbers of the units of one group in the names of tensors that end in `suffix`."""

    suffix: str
    units: int
    kept: Mapping[int, int]

    def applies(self, suffix: str) -> bool:
        """Whether names with this rest after the number are of the group."""
        return suffix == self.suffix or (self.suffix.endswith(_ALL) and suffix.startswith(self.suffix[: -len(_ALL)]))

    def renumbered(self, number: int) -> int | None:
        """Return the number that a unit gets; None if it is removed. Larger numbers than those of units move down."""
        if number < self.units:
            return self.kept.get(number)
        return number - self.units + len(self.kept)


class Renumbering:
    """What becomes of the names of tensors when the units of these groups are removed that are not kept."""

    def __init__(self, groups: Iterable[GroupReport]) -> None:
        last = {(group.name, group.tensors): group for group in groups if group.kept}
        self._numbers: dict[str, list[_Numbers]] = {}
        for group in last.values():
            kept = {unit: position for position, unit in enumerate(group.kept)}
            for tensor in group.tensors:
                prefix, separator, suffix = tensor.partition(UNIT)
                if separator:
                    self._numbers.setdefault(prefix, []).append(_Numbers(suffix, group.units, kept))

    def name_of(self, tensor: str) -> str | None:
        """Return the name of a tensor in the result; None if it is removed."""
        segments = tensor.split(".")
        position = 0
        for at, segment in enumerate(tensor.split(".")):
            end = position + len(segment)
            if segment.isdecimal() and segment.isascii():
                for numbers in self._numbers.get(tensor[:position], ()):
                    if numbers.applies(tensor[end:]):
                        number = numbers.renumbered(int(segment))
                        if number is None:
                            return None
                        segments[at] = str(number)
            position = end + 1
        return ".".join(segments)


def result_names(plan: Plan) -> dict[str, str]:
    """Return the name in the result of each tensor of a plan that is not removed."""
    return {tensor.name: tensor.result_name or tensor.name for tensor in plan.tensors if not tensor.removed}


def check_names(plan: Plan) -> None:
    """Refuse a plan that omits or renames tensors otherwise than its groups explain. Raises: ProtocolError."""
    changed = [tensor for tensor in plan.tensors if tensor.removed or tensor.result_name is not None]
    if not changed:
        return
    renumbering = Renumbering(plan.groups)
    for tensor in changed:
        expected = renumbering.name_of(tensor.name)
        if tensor.removed != (expected is None) or tensor.result_name not in (None, expected):
            fate = "omits" if tensor.removed else "renames"
            raise refused(f"a plan that {fate} tensor {tensor.name!r}, which its groups do not explain", tensor.name)
    if len(set(result_names(plan).values())) < sum(not tensor.removed for tensor in plan.tensors):
        raise refused("a plan that gives two tensors the same name")
