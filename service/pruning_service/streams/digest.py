"""SHA-256 of a file as it passes, off the event loop.

The hash of one chunk is computed while the next one is received or this one is sent, and no further behind: chunks
are in memory until then.
"""

import asyncio
import hashlib
from typing import Final

from pruning_proto.framing import Data

_SMALL_BYTES: Final = 64 * 1024
"""Hashed on the spot: it takes less time than to wake a thread."""


class Digest:
    """The digest of bytes that pass one after the other."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._hashing: asyncio.Future[None] | None = None

    async def take(self, data: Data) -> None:
        """Begin to hash bytes, once all before them are hashed."""
        await self.caught_up()
        if len(data) <= _SMALL_BYTES:
            self._hash.update(data)
        else:
            self._hashing = asyncio.get_running_loop().run_in_executor(None, self._hash.update, data)

    async def caught_up(self) -> None:
        """Wait until all bytes are hashed."""
        if self._hashing is not None:
            await asyncio.shield(self._hashing)  # a cancelled call must not make two threads hash at once
            self._hashing = None

    async def hexdigest(self) -> str:
        """Return the digest of all bytes so far, in lower-case hex."""
        await self.caught_up()
        return self._hash.hexdigest()
