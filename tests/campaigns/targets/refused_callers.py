"""A process of callers that are refused again and again until its standard input closes, each on its own connection.

`python -m tests.campaigns.targets.refused_callers`; the first line of standard input is JSON: the server's `address`
and the number of `callers`. Each sends a model of 8 MiB, as far as it is let, and takes what it is told.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc

from pruning_proto.limits import CHUNK_BYTES, MIB
from pruning_proto.names import PRUNE_PATH
from pruning_proto.v1 import pruning_pb2 as pb
from tests.campaigns.calls import encoded, reason_of
from tests.campaigns.cuts import SCOPES, model
from tests.service.raw import data, options

TIMEOUT_SECONDS: Final = 120
OWN_CONNECTION: Final = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]


def messages(most_bytes: int | None = None) -> list[bytes]:
    """Return the messages of one upload, or those of its first bytes."""
    file = model(8, MIB // 16)
    return encoded([options(file, SCOPES["local"]), *data(file[:most_bytes], CHUNK_BYTES)])


async def main() -> None:
    """Print `{"seconds": [...], "outcomes": {...}}`: from each call to its status, and how often each reason came."""
    asked: dict[str, Any] = json.loads(sys.stdin.readline())
    sent, seconds, outcomes = messages(), list[float](), Counter[str]()
    callers = [asyncio.create_task(_call(asked["address"], sent, seconds, outcomes)) for _ in range(asked["callers"])]
    await asyncio.to_thread(sys.stdin.read)
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    sys.stdout.write(json.dumps({"seconds": seconds, "outcomes": outcomes}) + "\n")


async def _call(address: str, sent: list[bytes], seconds: list[float], outcomes: Counter[str]) -> None:
    async with grpc.aio.insecure_channel(address, OWN_CONNECTION) as channel:
        prune: Any = channel.stream_stream(PRUNE_PATH)
        await channel.channel_ready()
        while True:
            begin = time.perf_counter()
            outcome = await _outcome(prune(_requests(sent), timeout=TIMEOUT_SECONDS))
            seconds.append(time.perf_counter() - begin)
            outcomes[outcome] += 1


async def _requests(sent: list[bytes]) -> AsyncIterator[bytes]:
    for message in sent:
        yield message


async def _outcome(call: Any) -> str:
    """Return the reason that a call ended for. One that still writes may see no more of it than the message."""
    reason = ""
    try:
        async for message in call:
            reason = pb.PruneResponse.FromString(message).failure.reason
    except grpc.aio.AioRpcError as error:
        return reason or reason_of(error) or error.code().name
    return "OK"


if __name__ == "__main__":
    asyncio.run(main())
