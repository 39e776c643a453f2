"""Masks of one 4096 x 4096 fp32 matrix: Wanda per row and 2:4, against torch. `python -m tests.benchmarks.masks`

Both sides run in one process, in turn, on the same weights and norms, with the same number of threads. What is measured
is the CPU time of the process, which other processes hardly change; wall time beside it is noisy on a busy machine.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import torch

from pruning_engine import get_kernels, get_threads, prune_state_dict
from pruning_engine.recipe import Fraction, Magnitude, NOfM, Recipe, Rule, WeightedMagnitude

SIZE: Final = 4096


@dataclass(frozen=True)
class Row:
    """One line of the table: what torch does, the engine's rule, and the ratios that are wanted."""

    name: str
    must: float
    goal: float
    reference: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    rule: Rule


def wanda(weight: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
    """The authors' code: sort each row stably, and prune the first half."""
    scores = weight.abs() * norms
    indices = torch.sort(scores, dim=-1, stable=True)[1][:, : scores.shape[1] // 2]
    return torch.ones_like(scores, dtype=torch.bool).scatter_(1, indices, False)


def two_of_four(weight: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
    """The usual code: the two smallest of each group by topk."""
    groups = weight.abs().view(-1, 4)
    indices = torch.topk(groups, 2, dim=1, largest=False)[1]
    return torch.ones_like(groups, dtype=torch.bool).scatter_(1, indices, False).view(weight.shape)


ROWS: Final = (
    Row("Wanda, 50 % per row", 12, 30, wanda, Rule(score=WeightedMagnitude(1), amount=Fraction(0.5))),
    Row("2:4 by magnitude", 15, 40, two_of_four, Rule(score=Magnitude(), granularity=NOfM(2, 4, -1))),
)


def engine(rule: Rule, weight: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
    """The engine's packed mask."""
    tensors = {"w.weight": weight}
    if isinstance(rule.score, WeightedMagnitude):
        tensors["w.weight:in_norm"] = norms
    bits = prune_state_dict(tensors, Recipe((rule,), seed=1), output="mask").state_dict["w.weight:mask_bits"]
    assert isinstance(bits, torch.Tensor)
    return bits


def seconds(work: Callable[[], torch.Tensor], times: int) -> tuple[float, float]:
    """Return the medians of CPU time and wall time."""
    found = []
    for _ in range(times):
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        found.append((time.process_time() - cpu, time.perf_counter() - wall))
    return statistics.median(each for each, _ in found), statistics.median(each for _, each in found)


def table(times: int) -> Iterator[str]:
    """The lines of the table, as they are measured."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(SIZE, SIZE, generator=generator)
    norms = torch.rand(SIZE, generator=generator) + 0.1
    yield f"kernels {get_kernels()}, {get_threads()} threads; torch {torch.get_num_threads()} threads"
    yield "| work | torch CPU s | engine CPU s | ratio | must | goal | torch wall s | engine wall s |"
    yield "| --- | --: | --: | --: | --: | --: | --: | --: |"
    for row in ROWS:
        bits = engine(row.rule, weight, norms)
        unpacked = (bits.view(-1, 1) >> torch.arange(8, dtype=torch.uint8) & 1).view(weight.shape).bool()
        if not torch.equal(unpacked, row.reference(weight, norms)):
            yield f"{row.name}: the masks differ"
        torch_cpu, torch_wall = seconds(lambda row=row: row.reference(weight, norms), times)  # type: ignore[misc]
        engine_cpu, engine_wall = seconds(lambda row=row: engine(row.rule, weight, norms), times)  # type: ignore[misc]
        yield (
            f"| {row.name} | {torch_cpu:.3f} | {engine_cpu:.4f} | {torch_cpu / engine_cpu:.1f} | {row.must} "
            f"| {row.goal} | {torch_wall:.3f} | {engine_wall:.4f} |"
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each side of each row")
    for line in table(parser.parse_args().rounds):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
