"""How large a whole model is, how much of it is selected, and how much of it is zero: sums over all its tensors."""

from dataclasses import asdict, dataclass
from typing import Any

from pruning_proto.v1 import pruning_pb2 as pb


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTotals:
    """Sums over all tensors of a model, those that no rule selects included; without masks and auxiliary tensors.

    `entries` are the model's parameters, `weight_bytes` their bytes as they were sent. `zeros_before` and `zeros` are
    the entries that were zero or pruned before the first rule, and that are in the result (those of removed units
    included); None if they were not counted, as in a plan.

    Units: `weight_bytes` in bytes, all others in tensors or entries.
    Example:
        >>> client.dry_run("model.safetensors", rules.l1_unstructured(0.5)).model.selected_part
        0.5
    """

    tensors: int
    entries: int
    weight_bytes: int
    selected_tensors: int
    selected_entries: int
    zeros_before: int | None = None
    zeros: int | None = None

    @property
    def selected_part(self) -> float:
        """The part of all entries that rules select, 0.0 to 1.0."""
        return self.selected_entries / self.entries if self.entries else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can represent it."""
        return asdict(self) | {"selected_part": self.selected_part}


def model_of(message: pb.ModelTotals) -> ModelTotals:
    """Return the sums in a message."""
    return ModelTotals(
        tensors=message.tensors,
        entries=message.entries,
        weight_bytes=message.weight_bytes,
        selected_tensors=message.selected_tensors,
        selected_entries=message.selected_entries,
        zeros_before=message.zeros_before if message.HasField("zeros_before") else None,
        zeros=message.zeros if message.HasField("zeros") else None,
    )
