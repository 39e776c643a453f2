"""Clients killed at random memory_profile (SIGKILL): what the server held for each is free again within a second."""

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import numpy as np
import safetensors.numpy

from pruning_proto.limits import MIB
from tests.campaigns.figures import Figures, Tally
from tests.campaigns.observed import IN_FLIGHT, anonymous_bytes, gauge, seconds_until_free
from tests.servers import ServerProcess

TENSORS: Final = 16
MOMENT_SECONDS: Final = 0.6
"""A victim lives this long at most: about one call of each scope."""


def weights(path: Path, total_bytes: int) -> Path:
    """Write a file of random weights, in matrices of equal size."""
    columns = total_bytes // TENSORS // 4 // 64
    drawn = np.random.default_rng(1).standard_normal((TENSORS, 64, columns), np.float32)
    safetensors.numpy.save_file({f"{index}.weight": drawn[index] for index in range(TENSORS)}, path)
    return path


def killed_clients(
    server: ServerProcess, folder: Path, *, kills: int, most_seconds: float = 1.0, seed: int = 1
) -> Figures:
    """Kill `kills` clients, one after the other, each somewhere in a call of 64 MiB."""
    tally = Tally()
    chance = random.Random(seed)  # noqa: S311 - a repeatable choice, no secret
    source = weights(folder / "source.safetensors", 64 * MIB)
    target = folder / "target.safetensors"
    seconds: list[float] = []
    in_flight = 0
    for _ in range(kills):
        in_flight += _kill(server, source, target, chance.uniform(0, MOMENT_SECONDS))
        seconds.append(seconds_until_free(server))
        tally.note(None if seconds[-1] <= most_seconds else f"free only after {seconds[-1]:.2f} s")
    with tally.trying("no half file is left"):
        left = {path.name for path in folder.iterdir()} - {source.name, target.name}
        assert not left, left
    tally.measured.append(f"{in_flight} in the middle of a call; free after {max(seconds):.2f} s at the most")
    tally.measured.append(f"heap {anonymous_bytes(server.process.pid) / MIB:.0f} MiB in the end")
    return tally.figures("clients killed at random memory_profile")


def _kill(server: ServerProcess, source: Path, target: Path, after_seconds: float) -> bool:
    """Start a client and kill it `after_seconds` later; return whether it was in the middle of a call."""
    command: list[str | Path] = [sys.executable, "-m", "tests.campaigns.victim", server.address, source, target]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"begun\n"
        time.sleep(after_seconds)
        is_in_flight = gauge(server, IN_FLIGHT) > 0
        victim.kill()
    return is_in_flight
