"""One plan carried out in parts, by any processes, with the bytes and the report of one call.

A process that knows what is asked, the whole header and a way to read ranges can do any part of any phase:

    settings = pruning_service.local.settings_from(os.environ)
    whole = WholePlan(options, header, version, settings)       # options: `seeded` once, then the same everywhere
    if whole.indivisible is not None: ...                       # why; take the ordinary path
    division = whole.divide(files)                              # by file: names of results, in the order of the file
    if division.indivisible is not None: ...                    # the same

`whole.result` is the layout that the results would have in one file, its metadata (with the history) included: from it
follow the files, such as one for each shard, and their headers. `header` is that of the whole checkpoint, as if all
shards were one file with one buffer; with its 8-byte prefix.

The one process that leads goes through the phases, and has the parts of each done in any order, by anyone:

    following = steps(division)
    phase = next(following)
    while True:
        records = [record of each part in phase.parts, in this order]
        phase = following.send(records)                         # StopIteration: its value is `Completed`, the report

Whoever does a part is given `phase.to_bytes(division.name)` and the part's number:

    phase = phase_from(data, division.name)
    runner = PartRunner(division, settings)
    record = runner.run(phase, part, store, sink)               # `runner.peak_bytes(part)` must be free

`store.read_into(memoryview, begin)`, and `read_ranges` for several ranges, read the whole buffer. Samples read about a
twelfth of it where that is enough. `sink.write(name, memoryview)` takes the results of the part's file, in its order,
in phase `write` only. Records are bytes of a few MB at most. They can be kept under (`phase.name`, part), and be used
instead of doing the part again; one that is damaged, or of another request, is refused with RecordError. The same part
done twice gives the same results. No asyncio, no gRPC, no stores here.
"""

from typing import Final

from pruning_engine.errors import PruningError
from pruning_proto.safetensors.header import LayoutError
from pruning_service.parts.part_reader import RangeStore
from pruning_service.parts.part_results import ResultSink
from pruning_service.parts.part_runner import PartRunner
from pruning_service.parts.phases import Phase, PhaseKind, phase_from
from pruning_service.parts.records import RecordError
from pruning_service.parts.steps import Completed, check_record, steps
from pruning_service.parts.whole_plan import Division, WholePlan, seeded
from pruning_service.status import Refusal

FAILURES: Final = (Refusal, PruningError, LayoutError)
"""What a plan or a part raises for a request or a checkpoint that is not valid; `status.refusal_of` tells why."""

__all__ = [
    "FAILURES",
    "Completed",
    "Division",
    "PartRunner",
    "Phase",
    "PhaseKind",
    "RangeStore",
    "RecordError",
    "ResultSink",
    "WholePlan",
    "check_record",
    "phase_from",
    "seeded",
    "steps",
]
