"""A mix of all hostile callers: the hostile streams, the worst calls, and those without a token."""

import random
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import grpc

from tests.campaigns import hostile
from tests.campaigns.calls import line_to
from tests.campaigns.targets.strangers import STRANGERS, Strangers
from tests.campaigns.targets.worst_calls import WORST, Messages

CALL_SECONDS: Final = 6.0
"""After so long a call is cancelled: what it does to others has been seen."""

STRANGER_STREAMS: Final = 4


def peaceful_ground(address: str, seed: int = 1) -> hostile.Ground:
    """Return the ground of a server that nobody attacks yet: what a call looks like on the wire is recorded now."""
    ground = hostile.Ground(address, random.Random(seed))  # noqa: S311 - a repeatable choice, no secret
    assert ground.small_on_the_wire
    return ground


def all_kinds(stranger_addresses: Sequence[str]) -> list[hostile.Hostility]:
    """Return every kind of hostile caller; those without a token come to each of the addresses."""
    kinds = [*hostile.KINDS]
    kinds += [partial(_called, messages()) for messages in WORST.values()]
    kinds += [partial(_strange, strangers, each) for strangers in STRANGERS.values() for each in stranger_addresses]
    return kinds


def misbehave(over: threading.Event, kinds: Sequence[hostile.Hostility], ground: hostile.Ground, seed: float) -> None:
    """Be one caller after the other, chosen at random, until it is over."""
    chance = random.Random(seed)  # noqa: S311 - a repeatable choice, no secret
    while not over.is_set():
        with suppress(grpc.RpcError, OSError, ValueError):
            chance.choice(kinds)(ground)


def call_at(address: str, messages: Messages) -> None:
    """Make a call, and cancel it when it has had its time."""
    with line_to(address) as line:
        call = line.unread(messages)
        timer = threading.Timer(CALL_SECONDS, call.cancel)
        timer.start()
        try:
            with suppress(grpc.RpcError):
                for _ in call:
                    continue
        finally:
            timer.cancel()


def _called(messages: Messages, ground: hostile.Ground) -> None:
    call_at(ground.address, messages)


def _strange(strangers: Strangers, address: str, _: hostile.Ground) -> None:
    with strangers(address, STRANGER_STREAMS):
        time.sleep(hostile.MISBEHAVING_SECONDS)
