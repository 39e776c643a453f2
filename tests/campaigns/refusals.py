"""Refusals in the middle of an upload: each must arrive with its own reason, whoever calls and whatever is between.

The first tensor of each file is at fault, and a hundred megabytes are behind it: the server finds out while the client
sends. Clients of ours try nothing again here: a refusal that was lost must show.
"""

import asyncio
import math
import os
import struct
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias

from pruning_client import AsyncClient, Client, Recipe
from pruning_client.errors import PruningError
from pruning_proto.limits import MIB
from pruning_proto.reasons import TABLE, Reason
from pruning_proto.safetensors.header import build
from pruning_proto.v1 import pruning_pb2 as pb
from tests.campaigns import grpc_js
from tests.campaigns.figures import Figures, Tally
from tests.campaigns.observed import seconds_until_free
from tests.campaigns.proxies import Proxy, envoy, nginx, no_proxy
from tests.servers import ServerProcess
from tests.service.raw import l1

AT_ONCE: Final = 4
ENTRIES: Final = MIB // 4
"""Of the tensor at fault: 1 MiB."""

SCORES: Final = pb.Rule(
    score=pb.Score(importance_scores=pb.ImportanceScores(fall_back_to_weights=True)), amount=pb.Amount(fraction=0.5)
)


@dataclass(frozen=True, slots=True)
class Wrong:
    """A file to be refused, the recipe that it goes with, and why it is refused."""

    reason: Reason
    recipe: pb.Recipe
    file: Path
    announced_bytes: int

    @property
    def options(self) -> pb.PruneOptions:
        """What a foreign client sends first."""
        return pb.PruneOptions(recipe=self.recipe, total_bytes=self.announced_bytes)


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a client received: of which case, the reason, and the text where it was another one."""

    wrong: Wrong
    reason: str | None
    text: str


Caller: TypeAlias = Callable[[str, list[Wrong], int], list[Arrival]]
"""Takes an address, the cases, and how many calls to make."""


def files(folder: Path, tail_bytes: int) -> list[Wrong]:
    """Write the files: what is at fault first, then a tail of zeros, which take no space on most file systems."""
    nan = struct.pack("<f", math.nan) + bytes(4 * (ENTRIES - 1))
    half = struct.pack("<f", 0.5) + bytes(4 * (ENTRIES - 1))
    sound = bytes(4 * ENTRIES)
    tensors = {
        Reason.NAN_WEIGHTS: {"0.weight": nan},
        Reason.MASK_NOT_BINARY: {"0.weight_orig": sound, "0.weight_mask": half},
        Reason.NAN_SCORES: {"0.weight": sound, "0.weight:scores": nan},
    }
    return [
        Wrong(reason, pb.Recipe(rules=[SCORES if reason is Reason.NAN_SCORES else l1(0.5)], seed=1), *written)
        for reason, first in tensors.items()
        for written in [_write(folder / f"{reason}.safetensors", first, tail_bytes)]
    ]


def _write(path: Path, first: Mapping[str, bytes], tail_bytes: int) -> tuple[Path, int]:
    shapes = [(name, "F32", (4, ENTRIES // 4)) for name in first]
    tail = [(f"{index + 1}.weight", "F32", (4, MIB // 4)) for index in range(tail_bytes // (4 * MIB))]
    header, _ = build([*shapes, *tail], {})
    content = header + b"".join(first.values())
    path.write_bytes(content)
    total_bytes = len(content) + len(tail) * 4 * MIB
    os.truncate(path, total_bytes)
    return path, total_bytes


def overlong(folder: Path, tail_bytes: int) -> Wrong:
    """Return a sound file with a tail that was not announced; our own clients refuse to send it."""
    path, announced_bytes = _write(folder / "overlong.safetensors", {"0.weight": bytes(4 * ENTRIES)}, 0)
    os.truncate(path, announced_bytes + tail_bytes)
    return Wrong(Reason.OVERLONG, pb.Recipe(rules=[l1(0.5)]), path, announced_bytes)


def by_client(address: str, wrongs: list[Wrong], times: int) -> list[Arrival]:
    """Call with `Client`, from several threads."""
    with Client(address, retries=0) as client, ThreadPoolExecutor(AT_ONCE) as pool:

        def call(index: int) -> Arrival:
            wrong = wrongs[index % len(wrongs)]
            target = wrong.file.with_name(f"target{index}")
            try:
                client.prune_file(wrong.file, target, Recipe.from_message(wrong.recipe))
            except PruningError as error:
                return _arrival(wrong, error, target)
            return Arrival(wrong, "OK", "")

        return list(pool.map(call, range(times)))


def by_async_client(address: str, wrongs: list[Wrong], times: int) -> list[Arrival]:
    """Call with `AsyncClient`, several tasks at once."""

    async def call(client: AsyncClient, index: int) -> Arrival:
        wrong = wrongs[index % len(wrongs)]
        target = wrong.file.with_name(f"target{index}")
        try:
            await client.prune_file(wrong.file, target, Recipe.from_message(wrong.recipe))
        except PruningError as error:
            return _arrival(wrong, error, target)
        return Arrival(wrong, "OK", "")

    async def calls() -> list[Arrival]:
        arrivals: list[Arrival] = []
        async with AsyncClient(address, retries=0) as client:
            for begin in range(0, times, AT_ONCE):
                several = (call(client, index) for index in range(begin, min(begin + AT_ONCE, times)))
                arrivals += await asyncio.gather(*several)
        return arrivals

    return asyncio.run(calls())


def by_grpc_js(address: str, wrongs: list[Wrong], times: int) -> list[Arrival]:
    """Call with grpc-js. The last message in-band is what counts; the status must not say otherwise."""
    outcome = grpc_js.calls(
        address, [grpc_js.Case(wrong.options, wrong.file) for wrong in wrongs], times=times, at_once=AT_ONCE
    )
    return [
        Arrival(wrongs[one.case], one.in_band, f"status {one.code} {one.in_status!r} {one.message!r}")
        if one.in_status in ("", one.in_band)
        else Arrival(wrongs[one.case], None, f"in-band {one.in_band!r}, in the status {one.in_status!r}")
        for one in outcome
    ]


def _arrival(wrong: Wrong, error: PruningError, target: Path) -> Arrival:
    is_right_class = type(error).__name__.removesuffix("Error").upper() == TABLE[wrong.reason].family.name
    text = str(error) if is_right_class else f"{type(error).__name__}: {error}"
    with suppress(FileNotFoundError):
        target.unlink()
        text = f"the target was written, and yet {text}"
        return Arrival(wrong, None, text)
    return Arrival(wrong, error.reason if is_right_class else None, text)


CLIENTS: Final[Mapping[str, Caller]] = MappingProxyType(
    {"Client": by_client, "AsyncClient": by_async_client, "grpc-js": by_grpc_js}
)
PATHS: Final[Mapping[str, Proxy]] = MappingProxyType({"directly": no_proxy, "Envoy": envoy, "nginx": nginx})


def refusals(
    server: ServerProcess, folder: Path, client: str, path: str, *, times: int, tail_bytes: int = 128 * MIB
) -> Figures:
    """Have one client refused `times` times by way of one path. `folder` is empty and may hold the files."""
    tally = Tally()
    wrongs = files(folder, tail_bytes)
    if client == "grpc-js":
        wrongs.append(overlong(folder, tail_bytes))
    with PATHS[path]([server.address], folder) as address:
        for arrival in CLIENTS[client](address, wrongs, times):
            expected = arrival.wrong.reason
            tally.note(None if arrival.reason == expected else f"{expected}: {arrival.reason}, {arrival.text}")
    seconds = seconds_until_free(server)
    for wrong in wrongs:
        wrong.file.unlink()
    tally.measured.append(f"{len({wrong.reason for wrong in wrongs})} reasons, free after {seconds:.2f} s")
    return tally.figures(f"refusals in mid-upload: {client}, {path}")
