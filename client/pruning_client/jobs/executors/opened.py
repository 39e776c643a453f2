"""The executors by name."""

from typing import Final

from pruning_client.errors import UnavailableError
from pruning_client.jobs.executors.executor import Executor
from pruning_client.jobs.executors.local import LocalExecutor

EXECUTORS: Final = ("local", "ray")


def open_executor(name: str = "local", ray_address: str | None = None) -> Executor:
    """Return an executor, which connects when it is entered.

    `ray_address`: of a Ray cluster; None: one of this process, on this machine, which ends with it.
    Raises: UnavailableError if Ray is not installed. ValueError for an unknown name.
    """
    if name == "local":
        return LocalExecutor()
    if name != "ray":
        raise ValueError(f"the executor is one of {', '.join(EXECUTORS)}, got {name!r}")
    try:
        from pruning_client.jobs.executors.on_ray import RayExecutor  # noqa: PLC0415 - an extra, and slow to import
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "ray":
            raise
        raise UnavailableError(
            "the executor ray needs Ray, which is not installed here: pip install 'pruning-service[ray]'"
        ) from error
    return RayExecutor(ray_address)
