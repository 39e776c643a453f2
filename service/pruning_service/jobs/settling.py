"""The end of a job: what it wrote is complete or removed, then its target is free for others, then it is done.

Whoever ends a job holds its lease, so that nobody writes to its target meanwhile. Each step may be repeated: a process
that is killed between two of them is followed by one that does them all again.
"""

from google.longrunning.operations_proto_pb2 import Operation
from google.protobuf.json_format import MessageToJson

from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.jobs import targets
from pruning_service.jobs.leases import Lease
from pruning_service.jobs.operations import failed, succeeded
from pruning_service.jobs.state import JobState
from pruning_service.status import Refusal
from pruning_service.stores.stores import Stores


def settle_success(job: JobState, metadata: pb.PruneCheckpointMetadata, report: pb.Report) -> Operation:
    """End a job whose whole result is at its target. Raises: StoreError."""
    job.put_report(MessageToJson(report, preserving_proto_field_name=True).encode())
    targets.release(job)
    operation = job.finish(succeeded(job, metadata, report))
    job.delete_parts()
    return operation


def settle_failure(job: JobState, lease: Lease, stores: Stores, refusal: Refusal) -> Operation:
    """End a job without a result: nothing that it wrote stays. Raises: StoreError, LeaseLostError."""
    if lease.record.has_target:
        targets.remove(job, stores, lease.check)
    targets.release(job)
    lease.check()
    operation = job.finish(failed(job, lease.record.metadata, refusal))
    job.delete_parts()
    return operation


def cancelled(caller: str) -> Refusal:
    """Return how a job ends that somebody had cancelled."""
    return Refusal(reason=Reason.JOB_CANCELLED, message="the job was cancelled", metadata={"caller": caller})


def timed_out(seconds: float) -> Refusal:
    """Return how a job ends that was under way for too long."""
    return Refusal(
        reason=Reason.JOB_TIMEOUT, message=f"the job was under way for longer than its timeout of {seconds:g} s"
    )


def exhausted(attempts: int, last_error: str) -> Refusal:
    """Return how a job ends of which no attempt finishes anything."""
    begun = "1 attempt" if attempts == 1 else f"{attempts} attempts in a row"
    return Refusal(
        reason=Reason.JOB_ATTEMPTS_EXHAUSTED,
        message=f"{begun} finished no part of the job; the last one: {last_error or 'vanished'}",
    )
