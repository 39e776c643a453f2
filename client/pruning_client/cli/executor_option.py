"""The options that say where the parts of a run between object stores are carried out."""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pruning_client.cli.arguments import UsageError
from pruning_client.cli.places import Places
from pruning_client.cli.result_path import STDOUT
from pruning_client.cli.service import Service, open_service
from pruning_client.results.model_warning import ModelWarning

_VARIABLE: Final = "PRUNING_EXECUTOR"


def add_executor_options(command: ArgumentParser) -> None:
    """Declare the options."""
    group = command.add_argument_group("where a folder is pruned, without --server")
    group.add_argument(
        "--executor",
        choices=("local", "ray"),
        help="ray: on the workers of a Ray cluster, which open IN and OUT themselves; default: the variable "
        f"{_VARIABLE}, or local: in this process",
    )
    group.add_argument(
        "--ray-address",
        metavar="HOST:PORT",
        help="with ray: of the cluster, or ray://HOST:PORT; default: the variable PRUNING_RAY_ADDRESS; without both "
        "Ray is started on this machine, and ended",
    )


def check_executor(options: Namespace) -> None:
    """Refuse the options where they have no meaning, whatever the places. Raises: UsageError."""
    if options.executor is not None and options.server is not None:
        raise UsageError("--executor is of a run without --server; a server has a setting for it")
    if options.ray_address is not None and options.executor != "ray":
        raise UsageError("--ray-address is for --executor ray; give that too, or leave it out")


def take_executor(options: Namespace) -> None:
    """Set the executor of the environment's variable where the options name none; for ray, name places by URIs.

    Raises: UsageError if the option does not fit what is pruned.
    """
    misfit = _misfit(options)
    if options.executor is None:
        options.executor = os.environ.get(_VARIABLE, "local") if misfit is None else "local"
    if options.executor == "local":
        return
    if misfit is not None:
        raise UsageError(f"--executor {options.executor} {misfit}")
    from pruning_client.jobs.own_run import on_disk  # noqa: PLC0415 - of runs in parts alone

    for name in ("source", "out"):
        place = getattr(options, name)
        if isinstance(place, Path):
            setattr(options, name, on_disk(place))


def _misfit(options: Namespace) -> str | None:
    """Return why a run has no parts; None if it may have some."""
    if options.server is not None or options.out is None or str(options.out) == STDOUT:
        return "is for runs with a result; leave it out"
    if isinstance(options.source, Path) and not options.source.is_dir():
        return "is for the folder of a model, whose files are its parts; leave it out"
    return None


@contextmanager
def open_service_of_run(options: Namespace, places: Places) -> Iterator[Service]:
    """Return the service of a run, which carries out its parts where the options say.

    Raises: as `open_service`; UnavailableError if Ray is not installed, or does not answer.
    """
    if options.executor == "local":
        with open_service(options) as service:
            yield service
        return
    from pruning_client.jobs.own_run import OwnRun, client_of_run  # noqa: PLC0415 - of runs in parts alone

    run = OwnRun(options.out, options.executor, options.ray_address, options.timeout)
    with client_of_run(places.stores, run) as client:
        yield client


def executor_warnings(service: Service, options: Namespace) -> tuple[ModelWarning, ...]:
    """Return a warning if a run had no parts for its executor."""
    why = getattr(service, "why_undivided", None)
    if why is None:
        return ()
    message = f"--executor {options.executor} had nothing to do, and the run was carried out in this process: {why}"
    return (ModelWarning(kind="not_divided", tensor=None, message=message),)
