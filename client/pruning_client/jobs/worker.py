"""One job carried out for a server: `main` holds its lease, and has it renewed while the main thread works.

The process ends at once, from whatever thread, when another process may have the job, and when its standard input ends:
then its server stops, or is gone. What the main thread was writing is then not complete, and so not visible.
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from pruning_client.errors import PruningError
from pruning_client.jobs.progress import JobProgress
from pruning_client.jobs.refusals import refusal_of_client
from pruning_client.jobs.run import run_job
from pruning_client.jobs.run_state import RunState
from pruning_client.results.report_message import report_message
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.jobs import targets
from pruning_service.jobs.exit_statuses import ExitStatus
from pruning_service.jobs.leases import Lease, LeaseLostError, keep_renewing, now_seconds
from pruning_service.jobs.settling import settle_failure, settle_success
from pruning_service.jobs.state import JobState, find_job
from pruning_service.jobs.store_refusals import store_refusal
from pruning_service.local_settings import SettingsError
from pruning_service.observability import log_format
from pruning_service.status import Refusal, refusal_of
from pruning_service.stores.allowed import AllowedStores
from pruning_service.stores.errors import StoreError
from pruning_service.stores.stores import Stores, StoreSettings
from pruning_service.stores.uris import StoreUri

RETRY_SECONDS: Final = 5.0
"""After which an attempt that failed for a passing reason is followed by another."""

_PASSING: Final = frozenset({Reason.STORE_UNAVAILABLE, Reason.NO_ROOM, Reason.EXECUTOR_UNAVAILABLE})

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> int:
    """Carry out one job; return the exit status, if the process does not end before."""
    if len(arguments) != 3:
        sys.stderr.write("usage: python -P -m pruning_client.jobs PLACE NAME OWNER, as a server starts it\n")
        return ExitStatus.USAGE
    place, name, owner = arguments
    is_json = os.environ.get("PRUNING_LOG_FORMAT") == "json"
    log_format.configure(os.environ.get("PRUNING_LOG_LEVEL", "info"), "json" if is_json else "text")
    try:
        with Stores(_store_settings(os.environ)) as stores:
            job = find_job(stores.open(StoreUri.parse(place)), name)
            return ExitStatus.LOST if job is None else _carried_out(job, stores, owner)
    except LeaseLostError as error:
        _log.warning("job lost error=%s", error)
        return ExitStatus.LOST
    except (SettingsError, StoreError) as error:
        _log.warning("job not begun error=%s", error)
        return ExitStatus.USAGE


def _store_settings(environment: Mapping[str, str]) -> StoreSettings:
    """Return the server's: what it may open, its workers may, and no more. Raises: SettingsError."""
    settings = StoreSettings.of_environment(environment)
    return replace(settings, allowed=AllowedStores.parse(environment.get("PRUNING_STORES", "")))


def _carried_out(job: JobState, stores: Stores, owner: str) -> int:
    seconds = float(os.environ.get("PRUNING_LEASE_SECONDS", "30"))
    begin = now_seconds()
    held = job.lease()
    if held is None or held.record.owner != owner:
        return ExitStatus.LOST
    lease = Lease(job, held, begin)
    lease.begin(seconds)  # from here on it counts from a time that this process knows
    return _Worker(job, lease, stores).run()


class _Worker:
    """The threads of a job: one works, one renews the lease, one waits for the end of the server."""

    def __init__(self, job: JobState, lease: Lease, stores: Stores) -> None:
        self._job = job
        self._lease = lease
        self._stores = stores
        self._progress = JobProgress(lease.record.metadata)
        self._said: Mapping[str, float] = {}
        self._stopped = threading.Event()

    def run(self) -> int:
        """Carry the job out, and return the exit status."""
        renewing = threading.Thread(
            target=keep_renewing, args=(self._lease, self._describe, self._stopped, _leave_lost), daemon=True
        )
        renewing.start()
        threading.Thread(target=self._release_at_end, daemon=True).start()
        try:
            status = self._end(self._work())
        finally:
            self._stopped.set()
            renewing.join()
            self._say()
        return status

    def _work(self) -> Refusal | None:
        """Do the work; return why there is no result, or None if there is one."""
        try:
            self._prepare_target()
            report = run_job(self._job.record.request, self._stores, RunState(self._job, self._lease), self._progress)
            self._lease.check()
            with self._progress.step("finishing"):
                settle_success(self._job, self._progress.describe(), report_message(report))
        except LeaseLostError:
            raise
        except Refusal as refusal:
            return refusal
        except PruningError as error:
            return refusal_of_client(error)
        except StoreError as error:
            return store_refusal(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the job ends with a reason
            _log.exception("job failed name=%s", self._job.operation_name)
            return refusal_of(error, "of the job")
        return None

    def _prepare_target(self) -> None:
        """Make the target the job's own, unless an earlier attempt did. Raises: Refusal, StoreError, LeaseLostError."""
        targets.claim(self._job)
        if self._lease.record.has_target:
            targets.remove_unfinished(StoreUri.parse(self._job.record.request.target))
            return
        targets.check_free(self._job, self._stores)
        self._lease.claim_target()

    def _end(self, refusal: Refusal | None) -> int:
        if refusal is None:
            return ExitStatus.DONE
        if refusal.reason in _PASSING:
            self._lease.release(error=refusal.short_message, wait_seconds=RETRY_SECONDS, counts=True)
            return ExitStatus.RETRY
        self._lease.renew(self._progress.describe())  # how far it came
        settle_failure(self._job, self._lease, self._stores, refusal)
        return ExitStatus.DONE

    def _describe(self) -> pb.PruneCheckpointMetadata:
        self._say()
        return self._progress.describe()

    def _say(self) -> None:
        """Write what was done since the last line."""
        done: dict[str, float] = {f"step {name}": seconds for name, seconds in self._progress.step_seconds().items()}
        for (scheme, kind), count in self._stores.traffic.counts().items():
            done[f"{kind} {scheme}"] = count
        new = {key: value - self._said.get(key, 0) for key, value in done.items() if value != self._said.get(key, 0)}
        self._said = done
        if new:
            with suppress(BrokenPipeError):
                sys.stdout.write(json.dumps(new) + "\n")
                sys.stdout.flush()

    def _release_at_end(self) -> None:
        """Wait for the end of standard input, then give the lease back and end the process."""
        while os.read(0, 4096):
            pass
        if self._stopped.is_set():
            return  # it ends by itself
        with suppress(StoreError, LeaseLostError):
            self._lease.release()
        os._exit(ExitStatus.RELEASED)


def _leave_lost(error: LeaseLostError) -> None:
    os.write(2, f"leaving at once: {error}\n".encode())  # a log's lock may be held
    os._exit(ExitStatus.LOST)
