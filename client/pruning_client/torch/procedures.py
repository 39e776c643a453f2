"""Procedures that prune several times: generators that yield what is to be pruned and are sent the results.

A procedure knows no client. It is carried out with a `Client`, or with an `AsyncClient` while it computes in threads.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeAlias, TypeVar, cast

from pruning_client.calls.request import Path, Rules
from pruning_client.checkpoints.state_dict import StateDict
from pruning_client.errors import PruningError
from pruning_client.results.result import Result
from pruning_client.statistics.statistics import Statistics
from pruning_client.torch.pruner import AsyncPruner, Pruner

Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")

_NOBODY: Final = object()
"""In place of a client: the procedure is asked for, and not carried out."""


@dataclass(frozen=True, slots=True)
class PruneRequest:
    """What is to be pruned next."""

    state_dict: StateDict
    rules: Rules
    statistics: Statistics | Path | None


Procedure: TypeAlias = Generator[PruneRequest, Result, Returned]
"""Yields requests, is sent their results, or what a call raised, and returns what was done."""


_Resume: TypeAlias = Callable[[Procedure[Returned]], PruneRequest]


@dataclass(frozen=True, slots=True)
class _Done(Generic[Returned]):
    """What a procedure returned."""

    value: Returned


def awaited(
    verb: Callable[Concatenate[Pruner, Arguments], Returned],
) -> Callable[Concatenate[AsyncPruner, Arguments], Coroutine[Any, Any, Returned]]:
    """Return a verb that carries out a procedure as a coroutine function for an `AsyncClient`, with the same options.

    What the verb does before it calls `carried_out` runs in the event loop.
    """

    async def call(client: AsyncPruner, /, *arguments: Arguments.args, **options: Arguments.kwargs) -> Returned:
        procedure = cast("Procedure[Returned]", verb(cast("Pruner", _NOBODY), *arguments, **options))
        return await _carried_out_async(client, procedure)

    update_wrapper(call, verb)
    call.__name__ = call.__qualname__ = f"{verb.__name__}_async"
    text = (verb.__doc__ or "").partition("Example:")[0].rstrip()
    call.__doc__ = (
        f"Do as `{verb.__name__}` does, with an `AsyncClient`: the model runs in threads, and calls are awaited.\n\n"
        f"    A task that is cancelled ends after the step that runs. {text}"
    )
    return call


def carried_out(client: Pruner, procedure: Procedure[Returned]) -> Returned:
    """Return what a procedure returns. Raises: what it raises; it may go on after a PruningError of a call."""
    if client is _NOBODY:
        return cast("Returned", procedure)  # for `awaited`
    try:
        step = _step(procedure, next)
        while isinstance(step, PruneRequest):
            try:
                result = client.prune(step.state_dict, step.rules, statistics=step.statistics)
            except PruningError as error:
                step = _step(procedure, _thrown(error))
            else:
                step = _step(procedure, _sent(result))
        return step.value
    finally:
        procedure.close()


async def _carried_out_async(client: AsyncPruner, procedure: Procedure[Returned]) -> Returned:
    """Do the same with an `AsyncClient`: what a procedure computes between its calls runs in threads."""
    try:
        step = await _in_thread(procedure, next)
        while isinstance(step, PruneRequest):
            try:
                result = await client.prune(step.state_dict, step.rules, statistics=step.statistics)
            except PruningError as error:
                step = await _in_thread(procedure, _thrown(error))
            else:
                step = await _in_thread(procedure, _sent(result))
        return step.value
    finally:
        procedure.close()


async def _in_thread(procedure: Procedure[Returned], resume: _Resume[Returned]) -> PruneRequest | _Done[Returned]:
    """Take a step in a thread; a cancelled task waits for its end, since a generator that runs cannot be closed."""
    step = asyncio.ensure_future(asyncio.to_thread(_step, procedure, resume))
    try:
        return await asyncio.shield(step)
    except asyncio.CancelledError:
        await asyncio.wait([step])
        raise


def _step(procedure: Procedure[Returned], resume: _Resume[Returned]) -> PruneRequest | _Done[Returned]:
    try:
        return resume(procedure)
    except StopIteration as stop:
        return _Done(stop.value)


def _sent(result: Result) -> _Resume[Any]:
    return lambda procedure: procedure.send(result)


def _thrown(error: PruningError) -> _Resume[Any]:
    return lambda procedure: procedure.throw(error)
