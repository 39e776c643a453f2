"""What a worker process of a cluster does: it unpickles one task, carries it out and says how that went."""

import pickle
from importlib.metadata import version
from typing import Final

from pruning_client.errors import UnavailableError
from pruning_client.jobs.executors.carried_errors import packed_error, unpacked_error
from pruning_client.jobs.executors.executor import Task

DISTRIBUTION: Final = "pruning-service"


def packed_task(task: Task) -> bytes:
    """Return a task as bytes, with the version of this program."""
    return pickle.dumps((version(DISTRIBUTION), task.name, pickle.dumps(task)))


def carry_out(packed: bytes) -> tuple[bool, bytes]:
    """Return whether a task succeeded, and its result or its error. Interrupts are raised."""
    try:
        return True, _task_of(packed).run()
    except Exception as error:  # noqa: BLE001 - every error is reported to the process that leads
        return False, packed_error(error)


def result_of(outcome: tuple[bool, bytes]) -> bytes:
    """Return the result of a task. Raises: what the task has raised."""
    is_done, data = outcome
    if is_done:
        return data
    raise unpacked_error(data)


def _task_of(packed: bytes) -> Task:
    leading, name, data = pickle.loads(packed)  # noqa: S301 - of the process that leads, which is trusted
    own = version(DISTRIBUTION)
    if own != leading:
        raise UnavailableError(
            f"{name} was given to a worker with {DISTRIBUTION} {own}, by a process with {leading}; use the same image "
            "for both"
        )
    task: Task = pickle.loads(data)  # noqa: S301
    return task
