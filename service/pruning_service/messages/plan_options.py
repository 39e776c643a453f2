"""What a request says about the model and its statistics, from its options."""

from pruning_engine.planning.options import PlanOptions
from pruning_proto import formats
from pruning_proto.formats import OutputFormat
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.messages.fields import invalid


def plan_options_of(options: pb.PruneOptions, output: OutputFormat) -> PlanOptions:
    """Return what a plan depends on beside recipe, output format and tied parameters.

    Raises: Refusal with the path of an option that does not go with the output format, or is out of range.
    """
    if options.skip_unused_auxiliary and output.takes_weights:
        raise invalid("skip_unused_auxiliary", "it is for OUTPUT_FORM_PLAN only; leave it out, and send what is used")
    if options.scan_sparsities and output is not formats.SCAN:
        raise invalid("scan_sparsities", "they are for OUTPUT_FORM_SCAN only; ask for that format, or leave them out")
    for position, sparsity in enumerate(options.scan_sparsities):
        if not 0.0 < sparsity < 1.0:  # also refuses NaN
            raise invalid(f"scan_sparsities[{position}]", f"a sparsity is above 0.0 and below 1.0, got {sparsity}")
    return PlanOptions(
        model_type=options.model_type,
        input_dims=dict(options.input_dims),
        auxiliary_aliases=dict(options.auxiliary_aliases),
        is_planned_only=not output.takes_weights,
        skips_unused=options.skip_unused_auxiliary,
        scan_sparsities=tuple(options.scan_sparsities),
    )
