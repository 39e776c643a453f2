"""Executors: where the tasks of a job run, in this process or on the workers of a Ray cluster.

A task is a value that can be pickled and `run`; it names what it reads and writes by URI, so that only a few bytes pass
through the executor.

    with open_executor(settings.executor, settings.ray_address) as executor:
        for task, record in finished(executor, tasks):
            ...

An error of a task is raised where its result is asked for, as it was raised in the task, and is never retried; a task
whose process or machine is lost is begun again elsewhere. Leaving the loop or the block cancels what is under way.
"""

from pruning_client.jobs.executors.executor import Executor, Task, finished
from pruning_client.jobs.executors.opened import EXECUTORS, open_executor

__all__ = ["EXECUTORS", "Executor", "Task", "finished", "open_executor"]
