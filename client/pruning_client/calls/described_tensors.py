"""What plan and report may say about a request: a server that says more, or of other tensors, is refused.

The bounds follow from what was asked, so that a server cannot fill this process's memory: each tensor of the file
comes once, and bytes are counted before a message is kept.
"""

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Final

from pruning_client.calls.request import PruneRequestSpec
from pruning_client.errors import ProtocolError
from pruning_client.results.group_report import UNIT
from pruning_proto.limits import MIB
from pruning_proto.names import MASK, ORIG
from pruning_proto.reasons import Reason
from pruning_proto.safetensors.header import TensorEntry
from pruning_proto.v1 import pruning_pb2 as pb

_TENSOR_BYTES: Final = 1024
"""More than what a plan or a report says about one tensor beside its name and shape, warnings included."""

_RULE_BYTES: Final = 16
_UNIT_BYTES: Final = 24
"""What a unit takes at most: a position as the wire has it, and half a range of bytes between it and the next."""

_HEADERS: Final = 16
"""How often names and shapes of all tensors may come: in the plan, in warnings, in each group that couples them."""

_MESSAGE_BYTES: Final = 64
"""Counted for each message, also for an empty one."""


class DescribedTensors:
    """The tensors that plan and report of one attempt may describe, and how much they said so far.

    Raises (every check): ProtocolError, and the message is not to be kept.
    """

    def __init__(self, request: PruneRequestSpec) -> None:
        self._entries = {entry.name: entry for entry in request.source.layout.tensors}
        self._rules = [rule.granularity.HasField("units") for rule in request.recipe.rules]
        limit = _limit(request, self._rules)
        self._plan = _Described("plan", limit)
        self._report = _Described("report", limit)
        most_units = len(self._entries) + sum(map(_channels, self._entries.values()))
        self._planned_units_left = [most_units] * len(self._rules)
        self._units_left = [most_units] * len(self._rules)

    def check_plan(self, plan: pb.Plan) -> None:
        """Refuse a part of a plan that names other tensors than the file has, or one twice, or says too much."""
        self._plan.count(plan.ByteSize())
        for tensor in plan.tensors:
            entry = self._plan.entry_of(tensor.name, self._find(tensor.name))
            if (tensor.dtype, tuple(tensor.shape)) != (entry.dtype, entry.shape):
                raise refused(
                    f"a plan whose tensor {tensor.name!r} is {tensor.dtype[:20]} of shape {list(tensor.shape[:8])}; "
                    f"the file has {entry.dtype} of shape {list(entry.shape)}",
                    tensor.name,
                )
            if not _is_ascending(tensor.rules, len(self._rules)):
                raise refused(f"a plan with rules for tensor {tensor.name!r} that the recipe lacks", tensor.name)
        for group in plan.groups:
            self._check_group(group, self._planned_units_left)

    def check_report(self, report: pb.Report) -> None:
        """Refuse a part of a report with other tensors or groups than the request can have, or that says too much."""
        self._report.count(report.ByteSize())
        for tensor in report.tensors:
            self._report.entry_of(tensor.name, self._find(tensor.name))
        for group in report.groups:
            self._check_group(group, self._units_left)

    def _check_group(self, group: pb.GroupReport, units_left: list[int]) -> None:
        if group.rule >= len(self._rules) or not self._rules[group.rule]:
            raise refused(f"a group {group.name[:200]!r} of a rule that has none")
        units_left[group.rule] -= max(group.units, 1)
        if units_left[group.rule] < 0:
            raise refused("groups of more units than the file's tensors have channels")
        if not _is_ascending(group.kept, group.units):
            raise refused(f"a group {group.name[:200]!r} that keeps units which it does not have")
        tensors = (*group.tensors, *group.scored)
        if len(set(group.tensors)) < len(group.tensors) or not all(map(self._is_in_file, tensors)):
            raise refused(f"a group {group.name[:200]!r} of tensors that are not in the file, or of one twice")

    def _is_in_file(self, name: str) -> bool:
        """Whether a tensor is in the file; for one tensor per unit, whether any with this beginning is."""
        prefix, separator, _ = name.partition(UNIT)
        return prefix in self._prefixes if separator else self._find(name) is not None

    @cached_property
    def _prefixes(self) -> frozenset[str]:
        """The beginnings of names up to each dot."""
        names = self._entries
        return frozenset(name[: at + 1] for name in names for at, letter in enumerate(name) if letter == ".")

    def _find(self, name: str) -> TensorEntry | None:
        """Return the entry of a parameter `w`, or of its `w_orig` where the file has that and `w_mask`."""
        entry = self._entries.get(name)
        if entry is None and name + MASK in self._entries:
            entry = self._entries.get(name + ORIG)
        return entry


class _Described:
    """The tensors that were described in a plan or a report, and the bytes."""

    def __init__(self, what: str, limit: int) -> None:
        self._what = what
        self._names: set[str] = set()
        self._limit = limit
        self._bytes = 0

    def count(self, count: int) -> None:
        """Add the bytes of a message."""
        self._bytes += count + _MESSAGE_BYTES
        if self._bytes > self._limit:
            raise refused(f"a {self._what} of more than {self._limit:,} bytes, the most that one of this file has")

    def entry_of(self, name: str, entry: TensorEntry | None) -> TensorEntry:
        """Return the entry of a tensor that is described."""
        if entry is None:
            raise refused(f"a {self._what} with a tensor {name[:200]!r}, which is not in the file", name[:200])
        if name in self._names:
            raise refused(f"a {self._what} with tensor {name!r} twice", name)
        self._names.add(name)
        return entry


def refused(message: str, tensor: str | None = None) -> ProtocolError:
    """Return the error of a server that sends what the request cannot have."""
    metadata = {} if tensor is None else {"tensor": tensor}
    return ProtocolError(f"the server sent {message}", reason=Reason.UNEXPECTED_MESSAGE, metadata=metadata)


def check_ranges(ranges: Sequence[tuple[int, int]], size: int) -> None:
    """Refuse ranges of bytes that do not ascend, or end beyond `size` bytes. Raises: ProtocolError."""
    edges = [edge for pair in ranges for edge in pair]
    if not _is_ascending(edges, size + 1):
        raise refused(f"a plan whose skipped ranges are not ascending parts of the file's {size:,} bytes")


def _limit(request: PruneRequestSpec, has_units: Sequence[bool]) -> int:
    tensors = request.source.layout.tensors
    names = _HEADERS * len(request.source.header) + 2 * request.message.ByteSize()
    each = len(tensors) * (_TENSOR_BYTES + _RULE_BYTES * len(has_units))
    units = sum(has_units) * (_UNIT_BYTES * sum(map(_channels, tensors)) + names)
    return MIB + names + each + units


def _channels(entry: TensorEntry) -> int:
    return sum(entry.shape)


def _is_ascending(positions: Sequence[int], end: int) -> bool:
    """Whether positions ascend strictly, and are below `end`."""
    return (not positions or positions[-1] < end) and all(one < two for one, two in pairwise(positions))
