"""What a server will do and what it costs, before it does it: frozen values."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from pruning_proto.v1 import pruning_pb2 as pb


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorPlan:
    """What will happen to one tensor of the file.

    `rules` are the positions of the rules that select it, in order. If there are none, `not_selected` says why:
    "name", "dtype", "dims" or "excluded".
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    rules: tuple[int, ...]
    not_selected: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will happen to a file.

    `peak_bytes` is the most memory that the server needs for it at one time; `result_bytes` is the size of the
    resulting file, None where there is none. `seed` has no meaning without a random rule.
    """

    tensors: tuple[TensorPlan, ...]
    request_id: str
    peak_bytes: int
    result_bytes: int | None
    seed: int
    device: str

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can represent it."""
        return asdict(self)


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
    )


def _tensor(tensor: pb.TensorPlan) -> TensorPlan:
    return TensorPlan(
        name=tensor.name,
        dtype=tensor.dtype,
        shape=tuple(tensor.shape),
        rules=tuple(tensor.rules),
        not_selected=_name_of(tensor.not_selected),
    )


def _name_of(reason: "pb.NotSelected") -> str | None:
    if reason == pb.NOT_SELECTED_UNSPECIFIED:
        return None
    names = {value: name for name, value in pb.NotSelected.items()}
    return names.get(reason, str(reason)).removeprefix("NOT_SELECTED_").lower()
