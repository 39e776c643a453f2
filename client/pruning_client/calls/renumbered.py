"""The names of tensors after whole units were removed: those of removed units are gone, and the others renumbered.

A group couples one tensor per unit as `experts.{unit}.w1.weight`, or all of a unit as `layers.{unit}.*`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pruning_client.calls.described_tensors import refused
from pruning_client.results.group_report import UNIT, GroupReport
from pruning_client.results.plan import Plan
from pruning_proto.names import scale_names

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


def result_names(plan: Plan, names: Iterable[str]) -> dict[str, str]:
    """Return the name in the result of each tensor of a file, by `names`, that is not removed.

    A plan lists parameters; what it does not list, such as the scale of an FP8 weight, goes where its weight goes.
    """
    listed = {tensor.name: None if tensor.removed else tensor.result_name or tensor.name for tensor in plan.tensors}
    owners = {scale: weight for weight in listed for scale in scale_names(weight)} if _has_changes(plan) else {}
    found = {**listed, **{name: _beside(name, owners.get(name), listed) for name in names if name not in listed}}
    return {name: new for name, new in found.items() if new is not None}


def _beside(name: str, owner: str | None, listed: Mapping[str, str | None]) -> str | None:
    """Return the new name of a tensor that belongs to another, of which it has the beginning in its name."""
    if owner is None:
        return name
    new = listed[owner]
    if new is None:
        return None
    stem = owner if name.startswith(owner) else owner.removesuffix(".weight")
    return new.removesuffix(owner.removeprefix(stem)) + name.removeprefix(stem)


def _has_changes(plan: Plan) -> bool:
    return any(tensor.removed or tensor.result_name is not None for tensor in plan.tensors)


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
    new = [tensor.result_name or tensor.name for tensor in plan.tensors if not tensor.removed]
    if len(set(new)) < len(new):
        raise refused("a plan that gives two tensors the same name")
