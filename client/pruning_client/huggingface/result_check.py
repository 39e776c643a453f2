"""Whether a folder whose channels were removed is a model again: the shape of every tensor agrees with config.json.

transformers answers where it is installed and knows the model. Otherwise names and shapes do: no tensor of a group's
block may have kept the old number of channels, and tensors of all layers that were alike must be alike. They suffice
where the architecture is tested (`experts.tested`); if they raise a doubt there, transformers decides.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from pruning_client.calls.renumbered import Renumbering
from pruning_client.checkpoints.opened import open_source
from pruning_client.checkpoints.readable import DISK, Files
from pruning_client.errors import MismatchError
from pruning_client.huggingface.config_fields import CONFIG, name_of
from pruning_client.huggingface.experts.widths import GROUPED_MM, is_of_grouped_mm
from pruning_client.huggingface.layers.removal import removals_of
from pruning_client.huggingface.names_and_shapes import changed_values, doubts
from pruning_client.huggingface.transformers_check import Need, Shapes, TransformersCheck
from pruning_client.results.group_report import UNIT
from pruning_client.results.model_warning import ModelWarning
from pruning_client.results.report import GroupReport
from pruning_proto.reasons import Reason

_MOST_LISTED: Final = 3
_ELSEWHERE: Final = (
    "nothing was written; couple these tensors, too, in groups of your own, or prune the safetensors file and load it "
    "with `pruning_client.torch.load_pruned`"
)
_NOT_BUILT: Final = (
    "transformers was to build the model of the result, and does not know its architecture, or took too long; nothing "
    "was written; without check_with_transformers (--check-with-transformers) names and shapes are checked"
)


def check_result(
    before: tuple[Mapping[str, Any], Shapes],
    after: tuple[Mapping[str, Any], Shapes],
    groups: Sequence[GroupReport],
    transformers: TransformersCheck,
) -> tuple[ModelWarning, ...]:
    """Refuse a result whose tensors are not those of the model that its config describes; return what is not certain.

    `before` and `after` are a config and the shapes of the tensors; `transformers` was made for the first config.
    Raises: MismatchError.
    """
    renumbering = Renumbering(groups)
    old = {name: shape for tensor, shape in before[1].items() if (name := renumbering.name_of(tensor)) is not None}
    groups = [_as_in_result(group, renumbering) for group in groups]
    doubtful = partial(doubts, old, after[1], groups, (before[0], after[0]))
    if transformers.need is Need.IN_DOUBT and not doubtful():
        return ()
    found = transformers.misfits(before, after, removals_of(groups))
    if found is None and transformers.need is Need.REQUIRED:
        raise MismatchError(_NOT_BUILT, reason=Reason.SHAPE_MISMATCH)
    if misfits := doubtful() if found is None else found:
        advice = GROUPED_MM if any(map(is_of_grouped_mm, misfits)) else _ELSEWHERE
        more = f", and {len(misfits) - _MOST_LISTED} more" if len(misfits) > _MOST_LISTED else ""
        raise MismatchError(
            f"the result does not agree with its {CONFIG} ({_changes(before[0], after[0])}): "
            f"{'; '.join(misfits[:_MOST_LISTED])}{more}; {advice}",
            reason=Reason.SHAPE_MISMATCH,
        )
    return tuple(_added_head_dims(before[0], after[0])) if found is None else ()


def _added_head_dims(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[ModelWarning]:
    """Return a warning for each size of heads that the config did not have: not all models read it."""
    for place, value in changed_values(before, after).items():
        if place[-1] == "head_dim":
            yield ModelWarning(
                kind="head_dim_added",
                tensor=None,
                message=f"{name_of(place)} {value} was added to {CONFIG}, because it no longer follows from the number "
                "of heads; some models do not read it, and transformers, which would have been asked, is not installed "
                "here or does not know the model: load the result once",
            )


def shapes_of(weights: Path, files: Files = DISK) -> Shapes:
    """Return the shape of each tensor of a file, or of the shards of an index. Raises: OSError, CheckpointError."""
    return {entry.name: entry.shape for entry in open_source(weights, files).layout.tensors}


def _as_in_result(group: GroupReport, renumbering: Renumbering) -> GroupReport:
    """Return a group whose tensors have their names in the result: those of which each unit has a part."""
    names = (renumbering.name_of(tensor) for tensor in group.tensors if UNIT not in tensor)
    return replace(group, tensors=tuple(name for name in names if name is not None))


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    return ", ".join(f"{name_of(place)} is {value} now" for place, value in changed_values(before, after).items())
