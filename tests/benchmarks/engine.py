"""The engine against torch.nn.utils.prune, and against what memory allows: tables of ratios.

    python -m tests.benchmarks.engine [--rounds N] [WORD]

Each side of each row runs in a process of its own, on fresh data, and the median of several runs counts. Before each
run a separate process touches and frees memory, because the first touch of pages that a virtual machine's host has
taken back costs more than the pruning; what that took is printed. Rows can be chosen by a WORD in their names.
"""

import argparse
import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.utils.prune

from pruning_engine import L1Unstructured, global_unstructured, prune_state_dict, prune_state_dict_
from pruning_engine.recipe import Channels, Fraction, Magnitude, OutputForm, Random, Recipe, Rule, Scope
from pruning_engine.runtime.threads import in_parallel
from tests.benchmarks.models import LAYERS, SHAPES

torch_prune: Any = torch.nn.utils.prune  # which has no annotations

TOUCHED_BYTES = 6 << 30
HALF = Fraction(0.5)
FIFTH = Fraction(0.2)
ROUNDS = 10
READ_ENTRIES = 1 << 20
MILLIONS = (1, 10, 100, 1000)


@dataclass(frozen=True)
class Row:
    """One line of the table: what torch does, what the engine does, and the least ratio wanted."""

    name: str
    wanted: float
    goal: float
    reference: Callable[[torch.nn.Module], None]
    rules: tuple[Rule, ...]
    output: OutputForm = OutputForm.MASK
    dtype: torch.dtype = torch.float32
    in_place: bool = False
    module_face: bool = False

    def engine(self, module: torch.nn.Module) -> None:
        """Do the work with the engine."""
        if self.module_face:
            global_unstructured(list(parameters(module)), L1Unstructured, amount=0.5)
            return
        prune = prune_state_dict_ if self.in_place else prune_state_dict
        prune(dict(module.state_dict()), Recipe(self.rules, seed=1), output=self.output)


def transformer(dtype: torch.dtype) -> torch.nn.Module:
    """85 million weights in the 72 matrices of 12 layers."""
    module = torch.nn.Module()
    for layer in range(LAYERS):
        for name, shape in SHAPES.items():
            linear = torch.nn.Linear(shape[1], shape[0], bias=False, dtype=dtype)
            linear.weight.data = torch.randn(shape, dtype=torch.float32).to(dtype)
            module.add_module(f"{name}{layer}", linear)
    return module


def parameters(module: torch.nn.Module) -> Iterator[tuple[torch.nn.Module, str]]:
    """What torch.nn.utils.prune calls parameters."""
    return ((child, "weight") for child in module.children())


def global_l1(module: torch.nn.Module, amount: float = 0.5) -> None:
    """torch's global L1."""
    torch_prune.global_unstructured(list(parameters(module)), torch_prune.L1Unstructured, amount=amount)


def local(method: str, **arguments: float) -> Callable[[torch.nn.Module], None]:
    """torch's method, tensor by tensor."""

    def work(module: torch.nn.Module) -> None:
        for child, name in parameters(module):
            getattr(torch_prune, method)(child, name, **arguments)

    return work


def rounds(work: Callable[[torch.nn.Module], None]) -> Callable[[torch.nn.Module], None]:
    """The same again on what survives."""

    def repeated(module: torch.nn.Module) -> None:
        for _ in range(ROUNDS):
            work(module)

    return repeated


L1 = Rule(score=Magnitude(), amount=HALF)
GLOBAL_L1 = Rule(score=Magnitude(), amount=HALF, scope=Scope.GLOBAL)
ROUND = Rule(score=Magnitude(), amount=FIFTH)
GLOBAL_ROUND = Rule(score=Magnitude(), amount=FIFTH, scope=Scope.GLOBAL)
LN = Rule(score=Magnitude(2.0), amount=HALF, granularity=Channels(0))
ROWS = (
    Row("global L1, mask", 150, 350, global_l1, (GLOBAL_L1,)),
    Row("global L1, in place", 100, 200, global_l1, (GLOBAL_L1,), OutputForm.PRUNED, in_place=True),
    Row("global L1, module face", 20, 40, global_l1, (), module_face=True),
    Row("global L1, mask, bf16", 120, 300, global_l1, (GLOBAL_L1,), dtype=torch.bfloat16),
    Row("local L1, mask", 120, 250, local("l1_unstructured", amount=0.5), (L1,)),
    Row("random, mask", 80, 200, local("random_unstructured", amount=0.5), (Rule(score=Random(), amount=HALF),)),
    Row("Ln n=2 dim=0, mask", 6, 12, local("ln_structured", amount=0.5, n=2, dim=0), (LN,)),
    Row("ten rounds, local", 60, 120, rounds(local("l1_unstructured", amount=0.2)), (ROUND,) * ROUNDS),
    Row("ten rounds, global", 100, 200, rounds(lambda module: global_l1(module, 0.2)), (GLOBAL_ROUND,) * ROUNDS),
)


@dataclass(frozen=True)
class Floor:
    """A row against what its memory alone takes: the engine's seconds are to be at most `wanted` times as long."""

    row: str
    name: str
    work: Callable[[torch.nn.Module], None]
    wanted: float
    goal: float


def read_weights(module: torch.nn.Module) -> None:
    """Read all weights once, with the engine's threads: the largest of their bits, which numpy finds in vectors."""
    bits = [weight.detach().numpy().reshape(-1).view("u4") for weight in module.state_dict().values()]
    pieces = [piece for each in bits for piece in np.array_split(each, max(1, len(each) // READ_ENTRIES))]
    in_parallel(lambda piece: piece.max(), pieces)


def touch_torchs_form(module: torch.nn.Module) -> None:
    """Write to the memory that torch's form takes beside each weight, for the first time: a mask and a product."""
    for weight in module.state_dict().values():
        kept.extend(torch.empty_like(weight).fill_(1.0) for _ in range(2))


kept: list[torch.Tensor] = []
"""What is in use until the end, as in a model."""

FLOORS = (
    Floor("global L1, mask", "reading the weights once", read_weights, 2, 1.3),
    Floor("global L1, module face", "first touch of mask and product", touch_torchs_form, 1.6, 1.2),
)


def work_of(row: Row, side: str) -> Callable[[torch.nn.Module], None]:
    """Return what one side of a row does: the engine, torch, or the row's floor."""
    if side == "floor":
        return next(floor.work for floor in FLOORS if floor.row == row.name)
    return row.engine if side == "engine" else row.reference


def measure(row: Row, side: str) -> dict[str, float]:
    """Run one side once in this process: seconds, and the growth of its peak memory in bytes."""
    module = transformer(row.dtype)
    work = work_of(row, side)
    gc.collect()
    gc.freeze()  # else walking what torch's import made, 70 ms, is part of some runs and not of others
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts anew
    before = _peak_bytes()
    begin = time.perf_counter()
    work(module)
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "bytes": _peak_bytes() - before}


def _peak_bytes() -> int:
    """The most memory that this process has held at a time."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def touch() -> None:
    """Touch and free memory, so that the host has given it before the clock runs."""
    torch.empty(TOUCHED_BYTES, dtype=torch.uint8).fill_(1)


def in_own_process(*arguments: str) -> str:
    """Run this module with arguments; return what it prints."""
    command = [sys.executable, "-m", "tests.benchmarks.engine", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def medians(row: int, side: str, times: int) -> dict[str, float]:
    """Run one side several times, each in a process of its own; return the medians."""
    results = []
    for _ in range(times):
        begin = time.perf_counter()
        in_own_process("--touch")
        touched = time.perf_counter() - begin
        results.append(json.loads(in_own_process("--one", str(row), side)) | {"touched": touched})
    return {key: statistics.median(result[key] for result in results) for key in results[0]}


def table(times: int, word: str) -> Iterator[str]:
    """The lines of the table, as they are measured."""
    yield "| work | torch s | engine s | ratio | wanted | goal | engine + MB | touch s |"
    yield "| --- | --: | --: | --: | --: | --: | --: | --: |"
    for index, row in enumerate(ROWS):
        if word not in row.name:
            continue
        reference, engine = medians(index, "torch", times), medians(index, "engine", times)
        ratio = reference["seconds"] / engine["seconds"]
        yield (
            f"| {row.name} | {reference['seconds']:.3f} | {engine['seconds']:.3f} | {ratio:.1f} | {row.wanted} "
            f"| {row.goal} | {engine['bytes'] / 1e6:.1f} | {engine['touched']:.2f} |"
        )


def floors(times: int, word: str) -> Iterator[str]:
    """The lines of the second table: the engine against what reading, or touching, its memory takes."""
    yield "| work | against | floor s | engine s | times | wanted | goal |"
    yield "| --- | --- | --: | --: | --: | --: | --: |"
    indices = {row.name: index for index, row in enumerate(ROWS)}
    for floor in FLOORS:
        if word not in floor.row:
            continue
        index = indices[floor.row]
        least, engine = (medians(index, side, times)["seconds"] for side in ("floor", "engine"))
        yield (
            f"| {floor.row} | {floor.name} | {least:.3f} | {engine:.3f} | {engine / least:.2f} | {floor.wanted} "
            f"| {floor.goal} |"
        )


def scaling(times: int) -> Iterator[str]:
    """The lines of the third table: what one entry costs in models of growing size."""
    yield "| entries | engine s | ns an entry |"
    yield "| --: | --: | --: |"
    for millions in MILLIONS:
        seconds = statistics.median(float(in_own_process("--size", str(millions))) for _ in range(times))
        yield f"| {millions:,} M | {seconds:.4f} | {seconds * 1000 / millions:.2f} |"


def measure_size(millions: int) -> float:
    """Select globally among `millions` million weights, in tensors of up to 16 million; return the seconds."""
    rows = [min(16, millions - begin) for begin in range(0, millions, 16)]
    state_dict = {f"{index}.weight": torch.randn(count * 1000, 1000) for index, count in enumerate(rows)}
    recipe = Recipe((GLOBAL_L1,), seed=1)
    prune_state_dict({"first.weight": torch.randn(100, 100)}, recipe, output=OutputForm.MASK)  # start the threads
    begin = time.perf_counter()
    prune_state_dict(state_dict, recipe, output=OutputForm.MASK)
    return time.perf_counter() - begin


def main() -> None:
    """Print the tables; or do one part of it, for a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side of each row")
    parser.add_argument("--touch", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--one", nargs=2, metavar=("ROW", "SIDE"), help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--scaling", action="store_true", help="only the table of growing sizes")
    parser.add_argument("word", nargs="?", default="", help="only rows with this word in their name")
    arguments = parser.parse_args()
    if arguments.touch:
        touch()
    elif arguments.one:
        sys.stdout.write(json.dumps(measure(ROWS[int(arguments.one[0])], arguments.one[1])))
    elif arguments.size:
        sys.stdout.write(str(measure_size(arguments.size)))
    else:
        rounds = arguments.rounds
        show(
            scaling(rounds)
            if arguments.scaling
            else chain(table(rounds, arguments.word), [""], floors(rounds, arguments.word))
        )


def show(lines: Iterator[str]) -> None:
    """Print each line as soon as it is measured."""
    for line in lines:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
