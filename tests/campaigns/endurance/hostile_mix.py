"""A process of hostile callers: `python -m tests.campaigns.endurance.hostile_mix ADDRESS CALLERS SEED`.

They do their worst, all kinds mixed, until standard input closes. Address: of a server on the loopback interface.
"""

import random
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import grpc

from tests.campaigns import hostile
from tests.campaigns.calls import line_to
from tests.campaigns.targets.strangers import STRANGERS, Strangers
from tests.campaigns.targets.worst_calls import WORST, Messages

CALL_SECONDS = 6.0
STREAMS = 4


def main(address: str, callers: int, seed: int) -> None:
    """Misbehave."""
    over, ground = threading.Event(), hostile.Ground(address, random.Random(seed))  # noqa: S311 - a repeatable choice
    if not ground.small_on_the_wire:  # recorded while there is peace
        raise RuntimeError("nothing was recorded")
    kinds = [*hostile.KINDS, *_worst(), *_strange()]
    sys.stdout.write("misbehaving\n")
    sys.stdout.flush()
    with ThreadPoolExecutor(callers) as pool:
        for number in range(callers):
            pool.submit(_misbehave, over, kinds, ground, random.Random(seed + number))  # noqa: S311
        sys.stdin.read()
        over.set()


def _misbehave(
    over: threading.Event, kinds: list[hostile.Hostility], ground: hostile.Ground, chance: random.Random
) -> None:
    while not over.is_set():
        with suppress(grpc.RpcError, OSError, ValueError):
            chance.choice(kinds)(ground)


def _call(messages: Messages, ground: hostile.Ground) -> None:
    with line_to(ground.address) as line:
        call = line.unread(messages)
        timer = threading.Timer(CALL_SECONDS, call.cancel)
        timer.start()
        with suppress(grpc.RpcError):
            for _ in call:
                continue
        timer.cancel()


def _worst() -> Iterator[hostile.Hostility]:
    for messages in WORST.values():
        yield partial(_call, messages())


def _strange() -> Iterator[hostile.Hostility]:
    for strangers in STRANGERS.values():
        yield partial(_estranged, strangers)


def _estranged(strangers: Strangers, ground: hostile.Ground) -> None:
    with strangers(ground.address, STREAMS):
        threading.Event().wait(hostile.MISBEHAVING_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
