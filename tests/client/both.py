"""Both clients with one interface, so that a test holds for each: `AsyncClient` on an event loop in a thread."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeAlias, cast

import pytest

from pruning_client import AsyncClient, Client

Connect: TypeAlias = Callable[..., AbstractContextManager[Client]]
"""Takes the arguments of a client, and enters with one."""


@contextmanager
def async_client(*arguments: Any, **options: Any) -> Iterator[Client]:
    """An `AsyncClient` that is called as a `Client` is."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        interface = _Interface(loop, arguments, options)
        yield cast("Client", interface)
        interface.close()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


class _Interface:
    def __init__(self, loop: asyncio.AbstractEventLoop, arguments: Any, options: Any) -> None:
        async def make() -> AsyncClient:
            return AsyncClient(*arguments, **options)

        self._loop = loop
        self._client = self._run(make())

    def __getattr__(self, verb: str) -> Any:
        return lambda *arguments, **options: self._run(getattr(self._client, verb)(*arguments, **options))

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


BOTH = pytest.mark.parametrize("connect", [Client, async_client], ids=["Client", "AsyncClient"])
