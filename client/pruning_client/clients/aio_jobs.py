"""`AsyncJob`: a job of an `AsyncClient`, with the verbs of `Job` awaited."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import update_wrapper
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast

from google.longrunning import operations_proto_pb2 as lro

from pruning_client.clients.jobs import (
    Job,
    JobBase,
    JobCalls,
    JobVerbs,
    JobWatcher,
    Waiting,
    cancel_call,
    delete_call,
    get_call,
    wait_call,
)
from pruning_client.errors import PruningError
from pruning_client.results.report import Report

_Arguments = ParamSpec("_Arguments")
_Made = TypeVar("_Made")


def awaited_job(
    verb: Callable[Concatenate[JobVerbs, _Arguments], Job],
) -> Callable[Concatenate[JobCalls, _Arguments], Coroutine[Any, Any, "AsyncJob"]]:
    """Return a verb of `Client` that returns a job as one that is awaited and returns an `AsyncJob`."""

    async def call(client: JobCalls, /, *arguments: _Arguments.args, **options: _Arguments.kwargs) -> "AsyncJob":
        job: AsyncJob = await cast("Any", verb)(client, *arguments, **options)
        return job

    return _described(call, verb)


def awaited_jobs(
    verb: Callable[Concatenate[JobVerbs, _Arguments], list[Job]],
) -> Callable[Concatenate[JobCalls, _Arguments], Coroutine[Any, Any, "list[AsyncJob]"]]:
    """Return the same of a verb that returns several."""

    async def call(client: JobCalls, /, *arguments: _Arguments.args, **options: _Arguments.kwargs) -> "list[AsyncJob]":
        jobs: list[AsyncJob] = await cast("Any", verb)(client, *arguments, **options)
        return jobs

    return _described(call, verb)


def _described(call: _Made, verb: Callable[..., object]) -> _Made:
    update_wrapper(cast("Any", call), verb)
    cast("Any", call).__qualname__ = f"AsyncClient.{verb.__name__}"
    cast("Any", call).__doc__ = f"Do as `Client.{verb.__name__}` does, awaited. {without_example(verb.__doc__)}"
    return call


def without_example(text: str | None) -> str:
    """Return a docstring without its example, whose calls are not awaited."""
    return (text or "").partition("Example:")[0].rstrip()


class AsyncJob(JobBase):
    """A job of an `AsyncClient`. Its properties are as it was last looked at; the verbs ask a server.

    Raises (every verb): PruningError.
    Example:
        >>> async def waited():
        ...     async with AsyncClient("localhost:50051") as client:
        ...         job = await client.prune_checkpoint("s3://models/m", "s3://models/b", rules.l1_unstructured(0.5))
        ...         return await job.wait()
        >>> asyncio.run(waited()).pruned
        24
    """

    def __init__(self, client: JobCalls, operation: lro.Operation) -> None:
        super().__init__(operation)
        self._client = client

    async def refresh(self, *, timeout: float | None = None) -> Self:
        """Look at it again."""
        self._status = await self._client._ask(get_call(self.operation), timeout)
        return self

    async def wait(self, progress: JobWatcher | None = None, *, timeout: float | None = None) -> Report:
        """Do as `Job.wait` does, awaited; `progress` is called on the event loop."""
        waiting = Waiting(self.name, progress, timeout)
        while not self.is_done:
            call = wait_call(waiting.request(self.operation))
            try:
                self._status = await self._client._ask(call, None)
            except PruningError as error:
                await asyncio.sleep(waiting.pause_after(error))
            else:
                waiting.answered(self._status)
        return self.report

    async def cancel(self, *, timeout: float | None = None) -> None:
        """Do as `Job.cancel` does, awaited."""
        await self._client._ask(cancel_call(self.operation), timeout)

    async def delete(self, *, timeout: float | None = None) -> None:
        """Do as `Job.delete` does, awaited."""
        await self._client._ask(delete_call(self.operation), timeout)
