"""Items that are fetched while the ones before are worked on."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

_Item = TypeVar("_Item")


async def one_ahead(items: AsyncIterator[_Item]) -> AsyncGenerator[_Item, None]:
    """Yield `items`, fetching the next one while one is worked on."""
    following = asyncio.ensure_future(anext(items, None))
    try:
        while (item := await following) is not None:
            following = asyncio.ensure_future(anext(items, None))
            yield item
    finally:
        following.cancel()
        await asyncio.wait({following})
        if not following.cancelled():
            following.exception()  # retrieved: asyncio logs every error that nobody retrieved
