"""What a person should look at although pruning succeeded: frozen values, from a server or from this client.

Imports no protobuf: commands that read files only print warnings too.
"""

from dataclasses import dataclass
from typing import Final

NEARLY_EMPTY: Final = 0.99
"""Above this sparsity a tensor gets a warning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelWarning:
    """Something about a plan or a result that its user should look at.

    `kind` is a word for programs: a server's are "empty" and "nearly_empty" (no weights, or under 1 % of them, are left
    in a tensor), and "unspecified" for others; this client adds its own. `tensor` is the parameter that it is about,
    None if it is not about one. `message` says what was found, where, and what to do.

    Example:
        >>> report = client.dry_run("model.safetensors", rules.l1_unstructured(1.0, include="fc1.weight"))
        >>> [warning.kind for warning in report.warnings]
        ['empty']
    """

    kind: str
    tensor: str | None
    message: str


def emptied(tensor: str, entries: int, pruned: int) -> ModelWarning | None:
    """Return the warning about a tensor that masks empty, or leave less than 1 % of; None if there is no need."""
    if pruned <= NEARLY_EMPTY * entries:
        return None
    left = entries - pruned
    state = f"the mask of {tensor!r} leaves {left:,} of its {entries:,} weights"
    message = f"{state}; prune in local scope, exclude it, or prune less"
    return ModelWarning(kind="nearly_empty" if left else "empty", tensor=tensor, message=message)
