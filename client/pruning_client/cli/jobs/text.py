"""Jobs as text for people: one, and a table of many."""

import sys
from collections.abc import Iterator, Sequence
from datetime import datetime

from pruning_client.cli.answer import Answer
from pruning_client.cli.report_text import report_text
from pruning_client.cli.tables import Table, bytes_text, terminal_width
from pruning_client.results.job_status import JobStatus
from pruning_proto.counted import counted


def job_answer(job: JobStatus, top: int | None = None) -> Answer:
    """Return how a job is, with its report or its error."""
    lines = list(_lines(job))
    warnings = () if job.report is None else job.report.warnings
    if job.report is not None:
        lines += ["", report_text(job.report, terminal_width(), with_seed=False, top=top)]
    return Answer(job.to_dict(), "\n".join(lines), warnings)


def jobs_table(jobs: Sequence[JobStatus]) -> Table:
    """Return a table of jobs."""
    head = ("job", "state", "step", "read", "written", "files", "attempt", "created")
    return Table(head, [_row(job) for job in jobs], optional=("attempt", "created", "files", "read"))


def job_watcher() -> "_Watcher":
    """Return a watcher that shows how a job is, in one line on stderr that it writes again and again."""
    return _Watcher()


class _Watcher:
    def __init__(self) -> None:
        self._columns = 0

    def __call__(self, job: JobStatus) -> None:
        line = "" if job.is_done else f"{job.name}: {job.step}, {_amounts(job)}"
        sys.stderr.write(f"\r{line.ljust(self._columns)}" + ("\r" if job.is_done else ""))
        sys.stderr.flush()
        self._columns = len(line)


def _row(job: JobStatus) -> tuple[str, ...]:
    return (
        job.name,
        "cancelling" if job.is_cancelling and not job.is_done else job.state,
        job.step,
        bytes_text(job.read_bytes),
        bytes_text(job.written_bytes),
        f"{job.shards_done}/{job.shards_total}" if job.shards_total else "",
        str(job.attempt),
        time_text(job.created),
    )


def _lines(job: JobStatus) -> Iterator[str]:
    yield f"{job.name} {job.state}" + (", to be cancelled" if job.is_cancelling and not job.is_done else "")
    yield f"  operation  {job.operation}"
    yield f"  source     {job.source}"
    yield f"  target     {job.target}"
    if job.step:
        yield f"  step       {job.step}"
    yield f"  so far     {_amounts(job)}"
    if job.plan is not None:
        plan = job.plan
        selected = f"{plan.selected_tensors:,} of {plan.tensors:,} tensors"
        yield f"  plan       {selected}, {bytes_text(plan.peak_bytes)} of memory"
    if job.attempt:
        yield f"  attempt    {job.attempt}" + (f", {job.worker}" if job.worker and not job.is_done else "")
    if job.last_error:
        yield f"  before     {job.last_error}"
    for name, moment in (("created", job.created), ("begun", job.started), ("done", job.ended)):
        if moment is not None:
            yield f"  {name:<9}  {time_text(moment)}"
    if job.labels:
        yield f"  labels     {', '.join(f'{key}={value}' for key, value in sorted(job.labels.items()))}"
    if job.error is not None:
        yield f"  error      {job.error} [{job.error.reason}]"


def _amounts(job: JobStatus) -> str:
    files = f", {job.shards_done} of {counted(job.shards_total, 'file')}" if job.shards_total else ""
    return f"{bytes_text(job.read_bytes)} read, {bytes_text(job.written_bytes)} written{files}"


def time_text(moment: datetime | None) -> str:
    """Return a moment as it is printed; "" for none."""
    return "" if moment is None else moment.strftime("%Y-%m-%d %H:%M:%S UTC")
