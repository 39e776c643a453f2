"""`prune run` from a store into a store with a server: a job, which this command waits for or leaves alone."""

import shlex
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pruning_client.cli.answer import Answer
from pruning_client.cli.arguments import UsageError, number
from pruning_client.cli.jobs.text import job_answer, job_watcher, time_text
from pruning_client.cli.server_options import connect, server_words
from pruning_client.cli.statistics_option import AUTO
from pruning_client.rules.recipe import Recipe

if TYPE_CHECKING:
    from pruning_client.clients.jobs import Job

_OF_FILES: Final = {
    "plan": "--plan",
    "dry_run": "--dry-run",
    "force": "--force",
    "no_clobber": "--no-clobber",
    "verify_text": "--verify-text",
    "check_with_transformers": "--check-with-transformers",
}
"""Options of `prune run` that a job does not have."""

_OF_JOBS: Final = {"detach": "--detach", "job_name": "--name", "labels": "--label", "job_timeout": "--job-timeout"}
"""Options that only a job on a server has."""


def add_job_options(command: ArgumentParser) -> None:
    """Declare the options."""
    job = command.add_argument_group("a job: a server, and IN and OUT are URIs")
    job.add_argument("--detach", action="store_true", help="begin the job and leave it; see: prune jobs")
    job.add_argument(
        "--name",
        dest="job_name",
        metavar="NAME",
        help="of the job: the same name with the same request is the same job; default: drawn",
    )
    job.add_argument(
        "--label",
        dest="labels",
        type=_label,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="words of your own about the job; repeatable",
    )
    job.add_argument(
        "--job-timeout",
        type=lambda text: number(text, "seconds"),
        metavar="SECONDS",
        help="how long the job may be under way, waiting for a server not counted",
    )


def is_job(options: Namespace) -> bool:
    """Whether a server is to open both places: it is named, and they are URIs."""
    places = (options.source, options.out)
    return options.server is not None and not any(place is None or isinstance(place, Path) for place in places)


def check_no_job_options(options: Namespace) -> None:
    """Refuse the options of a job where there is none. Raises: UsageError."""
    flags = [flag for name, flag in _OF_JOBS.items() if getattr(options, name)]
    if flags:
        raise UsageError(f"{', '.join(flags)}: is for a job, from a URI into a URI on a server (--server HOST:PORT)")


def run_job_on_server(recipe: Recipe, options: Namespace) -> Answer:
    """Begin a job on the server that the options name, and wait for it unless it is to be left alone.

    Raises: PruningError, UsageError.
    """
    flags = [flag for name, flag in _OF_FILES.items() if getattr(options, name, None)]
    if flags:
        raise UsageError(f"{', '.join(flags)}: a job does not have this; leave it out, or prune without a server")
    if options.method == AUTO:
        raise UsageError("--method auto: the statistics choose it, which a server reads only later; name the method")
    if isinstance(options.statistics, Path):
        raise UsageError(f"--statistics {options.statistics}: a server reads them; give a URI that it can open")
    with connect(options) as client:
        job = client.prune_checkpoint(
            str(options.source),
            str(options.out),
            recipe,
            name=options.job_name,
            output=options.output,
            statistics=None if options.statistics is None else str(options.statistics),
            digests=options.digests,
            canonical_zero=options.canonical_zero,
            compression="zstd" if options.zstd else None,
            max_shard_bytes=options.max_shard_size,
            trim_tokenizer=options.tokenizer,
            job_timeout=options.job_timeout,
            labels=dict(options.labels),
        )
        before = _ended_before(job, options)
        if before and job.error is not None:
            job.error.add_note(before)
            raise job.error
        if options.detach:
            text = f"{job.name} {job.state}: {job.operation}\n{_command('wait', job, options)}"
            return Answer(job.status.to_dict(), text)
        is_watched = sys.stderr.isatty() and not options.json and not options.quiet
        job.wait(job_watcher() if is_watched else None)
        return job_answer(job.status, options.top)


def _ended_before(job: "Job", options: Namespace) -> str:
    """Return what to know of a job of this name that an earlier command began and that has no result; "" otherwise."""
    if job.error is None:
        return ""
    ended = "was cancelled" if job.state == "cancelled" else "failed"
    at = "" if job.status.ended is None else f" at {time_text(job.status.ended)}"
    return f"job {job.name} {ended} before{at}; to try again, free its name: {_command('delete', job, options)}"


def _command(verb: str, job: "Job", options: Namespace) -> str:
    return shlex.join(["prune", "jobs", verb, job.name, *server_words(options)])


def _label(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise ArgumentTypeError(f"a label is KEY=VALUE; got {text!r}")
    return key, value
