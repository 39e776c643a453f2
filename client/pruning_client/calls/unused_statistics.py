"""Statistics that a call would not use: of weights that the model has not, or of no use to any rule."""

from pruning_client.calls.request import PruneRequestSpec
from pruning_client.checkpoints.file import Source
from pruning_client.errors import MismatchError
from pruning_client.results.model_warning import ModelWarning
from pruning_client.results.plan import Plan
from pruning_client.statistics.attached import statistics_of
from pruning_client.statistics.statistics import Statistics
from pruning_proto.names import STATISTICS
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb


def check_used(request: PruneRequestSpec, plan: Plan) -> None:
    """Refuse statistics that no rule uses, by the plan with all of them. Raises: MismatchError.

    A scan uses those of each weight that a rule selects.
    """
    is_scan = request.options.output == pb.OUTPUT_FORM_SCAN
    if any((is_scan and tensor.rules) or not set(STATISTICS).isdisjoint(tensor.auxiliary) for tensor in plan.tensors):
        return
    rules = "; ".join(f"rules[{number}]: {_scored(rule)}" for number, rule in enumerate(request.recipe.rules))
    raise MismatchError(
        f"no rule uses the statistics ({rules}); what does: the methods auto, wanda, ria, sparsegpt and alps, an "
        "update or swaps; for channel groups the scores obs, activation_norm, weighted_magnitude and flap. Choose one "
        "of them, or leave out the statistics",
        reason=Reason.UNUSED_COMPANION,
    )


def _scored(rule: pb.Rule) -> str:
    """Return what a rule does to the weights that it selects, in a few words."""
    kind = rule.score.WhichOneof("kind") or "magnitude"
    update = rule.update.WhichOneof("kind")
    return f"score {kind}" + (f" with update {update}" if update else "")


def of_other_weights(source: Source, statistics: Statistics) -> tuple[ModelWarning, ...]:
    """Return a warning for each weight that the statistics are of and the model has not.

    A tied weight may be in the statistics under several of its names.
    """
    matched = {*statistics_of(source, statistics).values(), *source.aliases, *source.aliases.values()}
    for name in tuple(matched):
        on_disk = statistics.module_names.get(name, ())
        matched.update((on_disk,) if isinstance(on_disk, str) else on_disk)
    return tuple(
        ModelWarning(
            kind="unmatched_statistics",
            tensor=None,
            message=f"the statistics of {name!r} are not used: the model has no tensor of this name",
        )
        for name in statistics.weights
        if name not in matched
    )
