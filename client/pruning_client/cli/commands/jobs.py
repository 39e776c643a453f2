"""`prune jobs`: list, show, wait for, cancel and delete the jobs of a server's stores."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pruning_client.cli.answer import Answer
from pruning_client.cli.arguments import UsageError, add_json, add_top, number, titled
from pruning_client.cli.jobs.text import job_answer, job_watcher, jobs_table
from pruning_client.cli.server_options import add_server_options, connect, take_server_of_environment
from pruning_client.cli.tables import terminal_width

if TYPE_CHECKING:
    from pruning_client.clients.sync import Client


def add_options(parser: ArgumentParser) -> None:
    """Declare the verbs and their options."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, (_, described) in _VERBS.items():
        description = f"{described[0].upper()}{described[1:]}."
        verb = verbs.add_parser(name, help=described, description=description, examples=f"jobs {name}")
        _add_jobs(verb, name)
        add_server_options(verb, without="it is an error")
        if name in ("show", "wait"):
            add_top(verb)
        add_json(verb)


def _add_jobs(verb: ArgumentParser, name: str) -> None:
    """Declare which jobs a verb is about."""
    if name == "list":
        titled(verb, "the jobs").add_argument("--all", action="store_true", help="also jobs that are done")
        return
    verb.add_argument("name", metavar="NAME", help="of the job, or of its operation")
    if name == "wait":
        titled(verb, "waiting").add_argument(
            "--for",
            dest="seconds",
            type=lambda text: number(text, "seconds"),
            metavar="SECONDS",
            help="how long at most; default: until it is done",
        )


def run(options: Namespace) -> Answer:
    """Carry out a verb. Raises: PruningError, UsageError."""
    with connect_to_jobs(options) as client:
        return _VERBS[options.verb][0](client, options)


def connect_to_jobs(options: Namespace) -> "Client":
    """Return the client of the server that the options or the environment name. Raises: UsageError."""
    take_server_of_environment(options)
    if options.server is None:
        raise UsageError("a job is carried out by a server; name one: --server HOST:PORT")
    return connect(options)


def _list(client: "Client", options: Namespace) -> Answer:
    jobs = [job.status for job in client.jobs() if options.all or not job.is_done]
    hint = "" if options.all else "no job is under way; --all lists those that are done too"
    text = jobs_table(jobs).render(terminal_width()) if jobs else hint or "there are no jobs"
    return Answer({"jobs": [job.to_dict() for job in jobs]}, text)


def _show(client: "Client", options: Namespace) -> Answer:
    return job_answer(client.job(options.name).status, options.top)


def _wait(client: "Client", options: Namespace) -> Answer:
    job = client.job(options.name)
    watched = None if options.json or not sys.stderr.isatty() else job_watcher()
    job.wait(watched, timeout=options.seconds)
    return job_answer(job.status, options.top)


def _cancel(client: "Client", options: Namespace) -> Answer:
    job = client.job(options.name)
    job.cancel()
    text = f"{job.name} is {job.state} already" if job.is_done else f"{job.name} will be cancelled"
    return Answer(job.refresh().status.to_dict(), text)


def _delete(client: "Client", options: Namespace) -> Answer:
    job = client.job(options.name)
    job.delete()
    return Answer(job.status.to_dict(), f"deleted {job.name}{_LEFT.get(job.state, '')}")


_LEFT: Final = {
    "succeeded": "; its result stays",
    "failed": "; it failed, and has no result",
    "cancelled": "; it was cancelled, and has no result",
}
"""What there is of a job that is deleted, by its state when it was last looked at."""


_VERBS: Final[dict[str, tuple[Callable[["Client", Namespace], Answer], str]]] = {
    "list": (_list, "list the jobs that are under way"),
    "show": (_show, "print how a job is, and its report once it has succeeded"),
    "wait": (_wait, "wait until a job is done, and print its report"),
    "cancel": (_cancel, "have a job cancelled; nothing stays of its result"),
    "delete": (_delete, "delete what the store keeps of a job that is done; its result stays"),
}
