"""How many entries of a model its result has no more."""

from pathlib import Path

from pruning_client.errors import CheckpointError
from pruning_client.models.model_tensors import open_model
from pruning_client.results.plan import Plan


def removed_entries(plan: Plan | None, result: Path) -> int | None:
    """Return how many entries fewer the tensors of a plan have in its result, of which the headers are read.

    None if that is not known: without a plan, where the result cannot be read, or has not all tensors.
    """
    if plan is None:
        return None
    try:
        tensors = open_model(result).tensors
    except (OSError, CheckpointError):
        return None
    removed = 0
    for planned in plan.tensors:
        tensor = None if planned.removed else tensors.get(planned.result_name or planned.name)
        if tensor is None and not planned.removed:
            return None
        removed += planned.entries - (0 if tensor is None else tensor.entries)
    return removed
