"""Pruning with statistics against torch: a table of ratios. `python -m tests.benchmarks.calibrated_speed [ROW ...]`

One matrix of 4,096 x 4,096 weights in fp32 and its Gram, on two threads. Each side of each row runs in a process of its
own on the same data, and the median of several runs counts; the references are the papers' algorithms in torch, as
published. Processor seconds are printed beside those of the clock: on a busy machine only they can be compared.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pruning_engine.methods.choices import by_matrix
from pruning_engine.methods.gram import Gram
from pruning_engine.methods.predicted_error import relative_error
from pruning_engine.methods.refit import refit
from pruning_engine.methods.sparsegpt import eliminate
from pruning_engine.methods.swaps import swap
from pruning_engine.runtime.threads import set_threads
from tests.benchmarks.calibrated_references import cg_products, cg_refit, sparsegpt, swaps

SIZE = 4096
THREADS = 2
STEPS = 20
SWAP_ROWS = 256
"""Rows that are swapped by torch, whose time grows with them in proportion."""


@dataclass(frozen=True)
class Data:
    """A matrix, its Gram, and a mask: Wanda's, half of each row."""

    weight: Any
    matrix: Any
    keep: Any

    @property
    def gram(self) -> Gram:
        """Return a Gram without factors."""
        return Gram.of_matrix(self.matrix)

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return weights, Gram and mask as torch has them."""
        return torch.from_numpy(self.weight), torch.from_numpy(self.matrix), torch.from_numpy(self.keep)


@dataclass(frozen=True)
class Row:
    """One line of the table: two functions that return new weights or None, and the least ratio wanted."""

    name: str
    must: float
    goal: float
    reference: Callable[[Data], Any]
    engine: Callable[[Data], Any]
    reference_rows: int | None = None
    """How many rows the reference works on, if not on all: its time is in proportion to them."""


def engine_sparsegpt(data: Data) -> Any:
    """SparseGPT, half of all weights."""
    return eliminate(data.weight, data.gram, half(data)).weight


def engine_both(data: Data) -> Any:
    """SparseGPT and as many steps as reach the reference's error."""
    gram = data.gram
    eliminated = eliminate(data.weight, gram, half(data))
    gram.forget_factors()
    return refit(data.weight, eliminated.keep, gram, steps=5, start=eliminated.weight, in_place=True).weight


def reference_both(data: Data) -> Any:
    """SparseGPT and 20 steps with the diagonal as preconditioner, from what SparseGPT left."""
    weight, matrix, _ = data.tensors()
    pruned = sparsegpt(weight, matrix)
    return cg_refit(weight, pruned != 0, matrix, pruned, STEPS).numpy()


def half(data: Data) -> Any:
    """Return the choice of half of all weights."""
    return by_matrix(data.weight.size // 2, np.ones(data.weight.shape, bool))


def first_rows(data: Data) -> Any:
    """Swap some rows in torch."""
    weight, matrix, keep = data.tensors()
    return swaps(weight[:SWAP_ROWS], keep[:SWAP_ROWS], matrix)


ROWS = (
    Row("sparsegpt", 1.5, 3, lambda data: sparsegpt(*data.tensors()[:2]).numpy(), engine_sparsegpt),
    Row(
        "refit",
        0.7,
        0.9,
        lambda data: cg_products(*data.tensors()[:2], STEPS),
        lambda data: refit(data.weight, data.keep, data.gram, steps=STEPS, damping=1e-3).weight,
    ),
    Row("sparsegpt and refit", 1.5, 3, reference_both, engine_both),
    Row("swaps", 5, 20, first_rows, lambda data: swap(data.weight, data.keep, data.gram), SWAP_ROWS),
)


def make(folder: Path, size: int) -> None:
    """Write the data: inputs with a few large directions and a few large channels, as those of language models."""
    random = np.random.default_rng(0)
    directions = random.standard_normal((512, size), dtype=np.float32)
    latent = random.standard_normal((2 * size, 512), dtype=np.float32) / np.sqrt(np.arange(1, 513, dtype=np.float32))
    inputs = latent @ directions + random.standard_normal((2 * size, size), dtype=np.float32)
    inputs *= np.exp(0.5 * random.standard_normal(size, dtype=np.float32))
    inputs[:, ::700] *= 15
    weight = random.standard_normal((size, size), dtype=np.float32)
    gram = Gram.of_inputs(inputs)
    scores = np.abs(weight) * np.sqrt(gram.diagonal)
    keep = np.ones(weight.shape, bool)
    np.put_along_axis(keep, np.argpartition(scores, size // 2, axis=1)[:, : size // 2], values=False, axis=1)
    for name, array in (("weight", weight), ("matrix", gram.matrix), ("keep", keep)):
        np.save(folder / f"{name}.npy", array)


def measure(row: Row, side: str, folder: Path) -> dict[str, float]:
    """Run one side once in this process: seconds, processor seconds, growth of peak memory over H, and the error."""
    set_threads(THREADS)
    torch.set_num_threads(THREADS)
    data = Data(*(np.load(folder / f"{name}.npy") for name in ("weight", "matrix", "keep")))
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts anew
    before, begin, processor = _peak_bytes(), time.perf_counter(), time.process_time()
    result = (row.engine if side == "engine" else row.reference)(data)
    part = row.reference_rows / len(data.weight) if row.reference_rows and side == "reference" else 1
    seconds, used = time.perf_counter() - begin, time.process_time() - processor
    grown = (_peak_bytes() - before - (0 if result is None else result.nbytes)) / data.matrix.nbytes
    is_weights = result is not None and result.dtype == np.float32
    error = relative_error(data.weight, result, data.gram) if is_weights else math.nan
    return {"seconds": seconds / part, "processor": used / part, "memory": grown, "error": error}


def _peak_bytes() -> int:
    """The most memory that this process has held at a time."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def medians(row: Row, side: str, times: int, folder: Path) -> dict[str, float]:
    """Run one side several times, each in a process of its own; return the medians."""
    command = [sys.executable, "-m", "tests.benchmarks.calibrated_speed", "--one", side, str(folder), row.name]
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), str(THREADS))
    results = []
    for _ in range(times):
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | threads)
        results.append(json.loads(done.stdout))
    return {key: statistics.median(result[key] for result in results) for key in results[0]}


def table(rows: list[Row], times: int, folder: Path) -> Iterator[str]:
    """The lines of the table, as they are measured."""
    yield "| work | torch s (cpu) | engine s (cpu) | ratio (cpu) | must | goal | errors | engine memory / H |"
    yield "| --- | --: | --: | --: | --: | --: | --: | --: |"
    for row in rows:
        reference, engine = (medians(row, side, times, folder) for side in ("reference", "engine"))
        yield (
            f"| {row.name} | {reference['seconds']:.2f} ({reference['processor']:.2f}) "
            f"| {engine['seconds']:.2f} ({engine['processor']:.2f}) "
            f"| {reference['seconds'] / engine['seconds']:.2f} ({reference['processor'] / engine['processor']:.2f}) "
            f"| {row.must} | {row.goal} | {reference['error']:.5f} / {engine['error']:.5f} | {engine['memory']:.2f} |"
        )


def main() -> None:
    """Print the table; or run one side of one row, for a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side of each row")
    parser.add_argument("--size", type=int, default=SIZE, help=f"rows and columns; the targets are for {SIZE:,}")
    parser.add_argument("--one", nargs=2, metavar=("SIDE", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("row", nargs="*", help=f"only these rows: {', '.join(row.name for row in ROWS)}")
    arguments = parser.parse_args()
    rows = [row for row in ROWS if not arguments.row or row.name in arguments.row]
    if arguments.one:
        sys.stdout.write(json.dumps(measure(rows[0], arguments.one[0], Path(arguments.one[1]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), arguments.size)
        for line in table(rows, arguments.rounds, Path(folder)):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
