"""The output that a format needs, by the columns of `pruning_proto.formats`."""

from pruning_engine.planning.plan import Plan
from pruning_proto.formats import OutputFormat
from pruning_service.outputs.deferred import DeferredOutput
from pruning_service.outputs.ordered import OrderedOutput
from pruning_service.outputs.output import Output
from pruning_service.outputs.packed import PackedOutput
from pruning_service.streams.buffers import Buffers


def make_output(output_format: OutputFormat, plan: Plan, buffers: Buffers, *, canonical_zero: bool) -> Output:
    """Return the output of a result in a format; what it makes anew is in memory of `buffers`."""
    if output_format.is_packed:
        return PackedOutput(plan.parameters, buffers.take_pageable, canonical_zero=canonical_zero)
    if output_format.header_is_late:
        return DeferredOutput(plan.parameters)
    return OrderedOutput(plan.parameters)
