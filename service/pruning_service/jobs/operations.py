"""Jobs as `google.longrunning.Operation`: how they are, and how they ended."""

from typing import Final

from google.longrunning.operations_proto_pb2 import Operation
from google.rpc.status_pb2 import Status

from pruning_proto.limits import MIB
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.jobs.leases import first_metadata, now
from pruning_service.jobs.state import JobState
from pruning_service.status import Refusal
from pruning_service.status_details import rpc_status

REPORT_BYTES: Final = 2 * MIB
"""What a report takes in an operation at most: a message has 4 MiB."""


def operation_of(job: JobState) -> Operation:
    """Return the operation of a job as it is now. Raises: StoreError."""
    done = job.result()
    if done is not None:
        return done
    lease = job.lease()
    metadata = first_metadata(job.record) if lease is None else lease.record.metadata
    metadata.is_cancelling = job.cancelled() is not None
    return _operation(job, metadata)


def succeeded(job: JobState, metadata: pb.PruneCheckpointMetadata, report: pb.Report) -> Operation:
    """Return the operation of a job whose whole result is at its target."""
    response = pb.PruneCheckpointResponse(report=report, target=job.record.request.target)
    operation = _ended(job, metadata, pb.JOB_STATE_SUCCEEDED)
    operation.response.Pack(shortened(response))
    return operation


def failed(job: JobState, metadata: pb.PruneCheckpointMetadata, refusal: Refusal) -> Operation:
    """Return the operation of a job without a result."""
    state = pb.JOB_STATE_CANCELLED if refusal.reason is Reason.JOB_CANCELLED else pb.JOB_STATE_FAILED
    operation = _ended(job, metadata, state)
    operation.error.CopyFrom(_status(job, refusal))
    return operation


def shortened(response: pb.PruneCheckpointResponse, most_bytes: int = REPORT_BYTES) -> pb.PruneCheckpointResponse:
    """Return a response in at most so many bytes: without what a report has for each tensor, if need be."""
    if response.ByteSize() > most_bytes:
        for field in ("tensors", "groups", "warnings"):
            response.report.ClearField(field)
        response.is_shortened = True
    return response


def listed(operation: Operation) -> Operation:
    """Return an operation as a list has it, where many share a message."""
    response = pb.PruneCheckpointResponse()
    if operation.response.Unpack(response):
        operation.response.Pack(shortened(response, 0))
    return operation


def _status(job: JobState, refusal: Refusal) -> Status:
    return rpc_status(refusal, {"operation": str(job.operation_name)})


def _ended(job: JobState, metadata: pb.PruneCheckpointMetadata, state: "pb.JobState") -> Operation:
    final = pb.PruneCheckpointMetadata()
    final.CopyFrom(metadata)
    final.state = state
    final.ClearField("step")
    final.ClearField("is_cancelling")
    final.end_time.CopyFrom(now())
    final.update_time.CopyFrom(final.end_time)
    operation = _operation(job, final)
    operation.done = True
    return operation


def _operation(job: JobState, metadata: pb.PruneCheckpointMetadata) -> Operation:
    operation = Operation(name=str(job.operation_name))
    operation.metadata.Pack(metadata)
    return operation
