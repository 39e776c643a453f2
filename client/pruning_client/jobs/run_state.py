"""What a job keeps in its state while it is carried out, and whether it still may go on."""

from pruning_service.jobs.leases import Lease
from pruning_service.jobs.state import JobState


class RunState:
    """The state of the job that this process has."""

    def __init__(self, job: JobState, lease: Lease) -> None:
        self._job = job
        self._lease = lease
        self.uri = job.parts_uri

    @property
    def seed(self) -> int:
        """The seed of a recipe that has none and is random: the same at every attempt."""
        return self._job.record.seed

    def check(self) -> None:
        """Raise LeaseLostError unless the job is this process's alone; to be called before each visible write."""
        self._lease.check()

    def part(self, name: str) -> bytes | None:
        """Return what was kept of a finished part; None if it is not finished. Raises: StoreError."""
        return self._job.part(name)

    def keep_part(self, name: str, data: bytes) -> None:
        """Keep what is known of a finished part. Raises: StoreError, LeaseLostError."""
        self.check()
        self._job.put_part(name, data)
        self._lease.part_finished()
