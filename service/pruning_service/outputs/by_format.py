"""The output that a format needs, by the columns of `pruning_proto.formats`."""

from collections.abc import Sequence
from dataclasses import dataclass

from pruning_engine.planning.plan import Plan
from pruning_proto.formats import OutputFormat
from pruning_service.outputs.deferred import DeferredOutput
from pruning_service.outputs.encoded import Encoding
from pruning_service.outputs.ordered import OrderedOutput
from pruning_service.outputs.output import Output
from pruning_service.outputs.packed import PackedOutput
from pruning_service.streams.buffers import Buffers


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """How a packed result is written: -0.0 as +0.0, and in zstd frames."""

    canonical_zero: bool = False
    is_compressed: bool = False


def make_output(
    output_format: OutputFormat, plan: Plan, last: Sequence[str], buffers: Buffers, packing: Packing
) -> Output:
    """Return the output of a result in a format; what it makes anew is in memory of `buffers`.

    `last` names the tensors that come last in the (dense) file, in their order, where that is known already. `packing`
    is for packed formats.
    """
    encoding = Encoding(last=last, take=buffers.take_pageable, canonical_zero=packing.canonical_zero)
    if output_format.is_packed and packing.is_compressed:
        from pruning_service.outputs.compressed import CompressedOutput  # noqa: PLC0415 - zstd, where it is asked for

        return CompressedOutput(plan.parameters, encoding)
    if output_format.is_packed:
        return PackedOutput(plan.parameters, encoding)
    if output_format.header_is_late:
        return DeferredOutput(plan.parameters)
    return OrderedOutput(plan.parameters, last)
