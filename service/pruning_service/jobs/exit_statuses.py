"""How the process that carries out a job ends, for the server that started it."""

from enum import IntEnum


class ExitStatus(IntEnum):
    """Exit statuses of `python -P -m pruning_client.jobs`; all others, and signals, mean that it crashed."""

    DONE = 0
    """The job has ended, with a result or without."""

    USAGE = 2
    """It could not begin: a setting or an argument is invalid."""

    RELEASED = 3
    """It was asked to stop, and gave the lease back."""

    LOST = 4
    """Another process has the job, or may have it."""

    RETRY = 5
    """The attempt failed for a reason that may pass, and it gave the lease back."""
