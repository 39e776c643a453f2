"""What a server will do and what it costs, before it does it: frozen values."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from heapq import nsmallest
from math import prod
from typing import Any, Final

from pruning_client.pages.shown import Shown, Summary
from pruning_client.pages.words import bytes_words
from pruning_client.results.group_report import GroupReport, group_of
from pruning_client.results.model_totals import ModelTotals
from pruning_client.results.model_warning import ModelWarning
from pruning_proto.counted import counted
from pruning_proto.safetensors.dtypes import DTYPE_BITS
from pruning_proto.v1 import pruning_pb2 as pb

LARGEST: Final = 10
"""Of the tensors that no rule selects, those that are listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorPlan:
    """What will happen to one tensor of the file.

    `rules` are the positions of the rules that select it, in order. If there are none, `not_selected` says why:
    "name", "dtype", "dims" or "excluded"; or which of the weights it is that are not among the default targets:
    "embedding", "output_head", "router" or "norm". `was_pruned`: an earlier round pruned it, by the file's history, and
    no mask says what, so that its zeros count as pruned (unless a rule's prior is "mask"). `auxiliary` are the suffixes
    of the auxiliary tensors that its rules use, and `input_dim` the dim of its input channels, where a rule needs it.
    `removed`: it belongs to a unit that is pruned, and is not in the result. `result_name` is its name there, if that
    is another one.

    Example:
        >>> tensor = client.plan("model.safetensors", rules.l1_unstructured(0.5)).tensors[2]
        >>> tensor.name, tensor.dtype, tensor.shape, tensor.rules
        ('fc1.weight', 'F32', (8, 4), (0,))
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    rules: tuple[int, ...]
    not_selected: str | None = None
    was_pruned: bool = False
    auxiliary: tuple[str, ...] = ()
    input_dim: int | None = None
    removed: bool = False
    result_name: str | None = None

    @property
    def entries(self) -> int:
        """The number of its entries."""
        return prod(self.shape)

    @property
    def weight_bytes(self) -> int:
        """The bytes of its entries; 0 for a dtype that this client does not know."""
        return (self.entries * DTYPE_BITS.get(self.dtype, 0) + 7) // 8


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Plan(Shown):
    """What will happen to a file.

    `peak_bytes` is the most memory that the server needs for it at one time; `result_bytes` is the size of the
    resulting file, None where there is none. `seed` has no meaning without a random rule. `warnings` are what can be
    said before the weights are read. `groups` are those of rules about units; `skipped` the bytes that are not needed,
    because they belong to units that are pruned: ranges counted from the first byte after the header. `spool_bytes` are
    those of tensors that are kept on disk meanwhile, because the call does not fit into memory.

    Example:
        >>> client.plan("model.safetensors", rules.l1_unstructured(0.5)).model.selected_entries
        48
    """

    tensors: tuple[TensorPlan, ...]
    request_id: str
    peak_bytes: int
    result_bytes: int | None
    seed: int
    device: str
    warnings: tuple[ModelWarning, ...] = ()
    groups: tuple[GroupReport, ...] = ()
    skipped: tuple[tuple[int, int], ...] = ()
    spool_bytes: int = 0

    @property
    def skipped_bytes(self) -> int:
        """The number of bytes that are not needed."""
        return sum(end - begin for begin, end in self.skipped)

    @property
    def model(self) -> ModelTotals:
        """Sums over all tensors."""
        selected = [tensor.entries for tensor in self.tensors if tensor.rules]
        return ModelTotals(
            tensors=len(self.tensors),
            entries=sum(tensor.entries for tensor in self.tensors),
            weight_bytes=sum(tensor.weight_bytes for tensor in self.tensors),
            selected_tensors=len(selected),
            selected_entries=sum(selected),
        )

    @property
    def largest_not_selected(self) -> tuple[TensorPlan, ...]:
        """The ten largest tensors that no rule selects or removes, the largest first."""
        others = (tensor for tensor in self.tensors if not tensor.rules and not tensor.removed)
        return tuple(nsmallest(LARGEST, others, key=lambda tensor: (-tensor.entries, tensor.name)))

    @property
    def summary(self) -> Summary:
        """What notebooks and terminals show of it: a row for each tensor of the model."""
        selected = sum(1 for tensor in self.tensors if tensor.rules)
        title = (
            f"{selected:,} of {counted(len(self.tensors), 'tensor')} selected, at most "
            f"{bytes_words(self.peak_bytes)} of memory"
        )
        return Summary(title, [_row(tensor) for tensor in self.tensors])

    def with_warnings(self, *warnings: ModelWarning) -> "Plan":
        """Return the plan with more warnings."""
        return replace(self, warnings=(*self.warnings, *warnings))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can represent it."""
        seed = str(self.seed)  # as in protobuf's JSON mapping: many readers have 53 bits
        fields = asdict(self) | {"model": self.model.to_dict(), "seed": seed}
        return fields | {"skipped_bytes": self.skipped_bytes}


def _row(tensor: TensorPlan) -> dict[str, Any]:
    return {
        "tensor": tensor.name,
        "dtype": tensor.dtype,
        "shape": "x".join(map(str, tensor.shape)),
        "entries": tensor.entries,
        "selected": bool(tensor.rules),
        "why_not": "" if tensor.rules else tensor.not_selected or "",
    }


def plan_of(messages: Iterable[pb.Plan]) -> Plan:
    """Return the plan in these messages; the last one has the totals."""
    parts = list(messages)
    last = parts[-1]
    return Plan(
        tensors=tuple(_tensor(tensor) for part in parts for tensor in part.tensors),
        request_id=last.request_id,
        peak_bytes=last.peak_bytes,
        result_bytes=last.result_bytes if last.HasField("result_bytes") else None,
        seed=last.seed,
        device=last.device,
        warnings=tuple(warning_of(warning) for part in parts for warning in part.warnings),
        groups=tuple(group_of(group) for part in parts for group in part.groups),
        skipped=tuple((each.begin, each.end) for part in parts for each in part.skipped),
        spool_bytes=last.spool_bytes,
    )


def warning_of(message: pb.ModelWarning) -> ModelWarning:
    """Return a server's warning."""
    names = {value: name for name, value in pb.WarningKind.items()}
    kind = names.get(message.kind, names[pb.WARNING_KIND_UNSPECIFIED]).removeprefix("WARNING_KIND_").lower()
    return ModelWarning(kind=kind, tensor=message.tensor or None, message=message.message)


def _tensor(tensor: pb.TensorPlan) -> TensorPlan:
    return TensorPlan(
        name=tensor.name,
        dtype=tensor.dtype,
        shape=tuple(tensor.shape),
        rules=tuple(tensor.rules),
        not_selected=_name_of(tensor.not_selected),
        was_pruned=tensor.was_pruned,
        auxiliary=tuple(tensor.auxiliary),
        input_dim=tensor.input_dim if tensor.HasField("input_dim") else None,
        removed=tensor.removed,
        result_name=tensor.result_name or None,
    )


def _name_of(reason: "pb.NotSelected") -> str | None:
    if reason == pb.NOT_SELECTED_UNSPECIFIED:
        return None
    names = {value: name for name, value in pb.NotSelected.items()}
    return names.get(reason, str(reason)).removeprefix("NOT_SELECTED_").lower()
