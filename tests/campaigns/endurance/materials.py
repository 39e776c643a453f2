"""What honest clients of an endurance run prune: files of several sizes, statistics, folders of models."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from safetensors.numpy import save_file

from pruning_client import Statistics
from tests.benchmarks.surgery import write_model
from tests.client.statistics.values import tensor
from tests.system.jobs import model

WIDTH: Final = 256
EXPERT_BYTES: Final = 30_000_000
BLOCK_BYTES: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class Materials:
    """Paths of it all. `small` has 10 kB, `medium` 1 MiB, `large` 32 MiB, `largest` as much as was asked for."""

    small: Path
    medium: Path
    large: Path
    largest: Path
    statistics: Path
    experts: Path
    jobs: Path


def made_in(folder: Path, largest_bytes: int) -> Materials:
    """Write it all."""
    draw = np.random.default_rng(0)
    jobs = folder / "jobs"
    model(jobs / "in", shards=2, size=128)
    write_model(folder / "experts", EXPERT_BYTES)
    found = Materials(
        small=_file(folder / "small.safetensors", draw, 2, 35),
        medium=_file(folder / "medium.safetensors", draw, 4, WIDTH),
        large=_file(folder / "large.safetensors", draw, 8, 1024),
        largest=folder / "largest.safetensors",
        statistics=folder / "statistics.safetensors",
        experts=folder / "experts",
        jobs=jobs,
    )
    rows = BLOCK_BYTES // 4 // 1024
    block = draw.standard_normal((rows, 1024), np.float32)
    save_file({f"layers.{n}.fc.weight": block for n in range(max(1, largest_bytes // BLOCK_BYTES))}, found.largest)
    inputs = draw.standard_normal((2 * WIDTH, WIDTH))
    gram = tensor(inputs.T @ inputs, "F32")
    Statistics(kind="gram", tensors={f"layers.{n}.fc.weight:in_gram": gram for n in range(4)}).save(found.statistics)
    return found


def _file(path: Path, draw: np.random.Generator, layers: int, width: int) -> Path:
    tensors = {f"layers.{n}.fc.weight": draw.standard_normal((width, width), np.float32) for n in range(layers)}
    tensors |= {f"layers.{n}.fc.bias": draw.standard_normal(width, np.float32) for n in range(layers)}
    save_file(tensors, path)
    return path
