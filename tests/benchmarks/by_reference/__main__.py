"""Checkpoints pruned by reference, against copies: `python -m tests.benchmarks.by_reference [--gigabytes N]`.

The folder is a model in 8 shards of random bf16. Each command is a process of its own, and all take turns; the median
of the rounds counts, with a warm page cache on both sides. Memory is what all processes of a command hold at once,
mapped files aside, above what a process does that only imports the package; of Ray, that of the process that leads.
`--only` takes the names of sections: small forms of all run with `--gigabytes 0.1 --torch-gigabytes 0.1 --rounds 1`.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]  # it ships no types

from tests.benchmarks.surgery import Use, measured, write_model
from tests.ray_nodes import ray_environment, ray_python, workers_of
from tests.seaweed import BUCKET, running_s3
from tests.servers import running_server

PEERS: Final = "tests.benchmarks.by_reference.peers"
HALF: Final = ("--method", "l1_unstructured", "--amount", "0.5", "--quiet")
GLOBAL: Final = (*HALF, "--global")
POLL_SECONDS: Final = 0.02


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side of a comparison: a command, and what undoes it before it runs again."""

    title: str
    words: Sequence[str | Path]
    undo: Callable[[], object]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table. `must` and `goal`: own time over the other's, or the reverse if `is_speedup`."""

    work: str
    own: Use
    other: Use | None
    must: float
    goal: float
    is_speedup: bool = False

    @property
    def text(self) -> str:
        """The line."""
        others = "" if self.other is None else f"{self.other.seconds:.2f}"
        ratio = ""
        if self.other is not None:
            times = self.other.seconds / self.own.seconds if self.is_speedup else self.own.seconds / self.other.seconds
            ratio = f"{times:.2f} x (must {self.must:g}, goal {self.goal:g})"
        return f"| {self.work} | {self.own.seconds:.2f} | {others} | {ratio} | {self.own.peak_bytes / 1e6:.0f} |"


@dataclass(frozen=True)
class Bench:
    """Where models and results are, and how often each side runs."""

    work: Path
    rounds: int
    idle_bytes: int

    def medians(self, *sides: Side) -> list[Use]:
        """Run the sides in turns; return the median time of each, with the most memory of all rounds."""
        uses: list[list[Use]] = [[] for _ in sides]
        for _ in range(self.rounds):
            for side, found in zip(sides, uses, strict=True):
                side.undo()
                os.sync()
                found.append(measured([str(word) for word in side.words], {**os.environ, **side.environment}))
                side.undo()
        return [self._median(found) for found in uses]

    def _median(self, found: Sequence[Use]) -> Use:
        seconds = statistics.median(use.seconds for use in found)
        cores = statistics.median(use.core_seconds for use in found)
        return Use(seconds, cores, max(use.peak_bytes for use in found) - self.idle_bytes)

    def folder(self, name: str) -> tuple[Path, Callable[[], object]]:
        """Return the path of a result, and what deletes it."""
        path = self.work / name
        return path, lambda: shutil.rmtree(path, ignore_errors=True)

    def run(self, title: str, source: Path | str, target: Path, *options: str) -> Side:
        """Return the command that prunes a folder by reference, in this Python."""
        words = [sys.executable, "-m", "pruning_client", "run", _uri(source), "-o", _uri(target), *options]
        return Side(title=title, words=words, undo=lambda: shutil.rmtree(target, ignore_errors=True))


def _uri(place: Path | str) -> str:
    return place if isinstance(place, str) else place.as_uri()


def copies(bench: Bench, source: Path) -> Iterator[Row]:
    """Yield the rows of local and of global L1, against copies and reads."""
    result, _ = bench.folder("result")
    copy, undo = bench.folder("copy")
    copied = Side(title="cp -r", words=["cp", "-r", "--reflink=never", source, copy], undo=undo)
    reads = f"cat {source}/* > /dev/null; cat {source}/* > /dev/null; cp -r --reflink=never {source} {copy}"
    read = Side(title="two reads and a copy", words=["sh", "-c", reads], undo=undo)
    own, other = bench.medians(bench.run("local", source, result, *HALF), copied)
    yield Row(work="local L1, against `cp -r`", own=own, other=other, must=2, goal=1.25)
    own, other = bench.medians(bench.run("global", source, result, *GLOBAL), read)
    yield Row(work="global L1, against two reads and a copy", own=own, other=other, must=2, goal=1.25)


def torchs(bench: Bench, source: Path) -> Iterator[Row]:
    """Yield the row against torch: load, `global_unstructured`, save."""
    result, _ = bench.folder("result")
    saved, undo = bench.folder("torch")
    peer = Side(title="torch", words=[sys.executable, "-m", PEERS, "torch", source, saved], undo=undo)
    own, other = bench.medians(bench.run("global", source, result, *GLOBAL), peer)
    yield Row(work="global L1, against torch", own=own, other=other, must=30, goal=60, is_speedup=True)


def stores(bench: Bench, source: Path) -> Iterator[Row]:
    """Yield the row of an S3 server on this machine, against obstore copying the same bytes."""
    with running_s3() as s3:
        environment = dict(s3.environment)
        peer = [sys.executable, "-m", PEERS]
        subprocess.run([*peer, "upload", source, f"s3://{BUCKET}/model"], check=True, env={**os.environ, **environment})

        def undo() -> None:
            subprocess.run([*peer, "delete", f"s3://{BUCKET}/result"], check=True, env={**os.environ, **environment})

        own = [
            sys.executable,
            "-m",
            "pruning_client",
            "run",
            f"s3://{BUCKET}/model",
            "-o",
            f"s3://{BUCKET}/result",
            *HALF,
        ]
        copy = [*peer, "copy", f"s3://{BUCKET}/model", f"s3://{BUCKET}/result"]
        sides = [
            Side(title="local", words=own, undo=undo, environment=environment),
            Side(title="obstore", words=copy, undo=undo, environment=environment),
        ]
        found, other = bench.medians(*sides)
    yield Row(work="S3, local L1, against obstore copying", own=found, other=other, must=1.6, goal=1.2)


def rays(bench: Bench, source: Path) -> Iterator[Row]:
    """Yield the row of two workers of a Ray cluster against one, which run already."""
    result, undo = bench.folder("result")
    words: list[str | Path] = [
        ray_python(),
        "-m",
        "pruning_client",
        "run",
        source.as_uri(),
        "-o",
        result.as_uri(),
        *GLOBAL,
    ]
    with ExitStack() as stack:
        found = [stack.enter_context(workers_of(count)) for count in (2, 1)]
        sides = [
            Side(
                title=f"{count} workers",
                words=[*words, "--executor", "ray"],
                undo=undo,
                environment=ray_environment(PRUNING_RAY_ADDRESS=nodes.address, **nodes.variables),
            )
            for count, nodes in zip((2, 1), found, strict=True)
        ]
        own, other = bench.medians(*sides)
    yield Row(work="Ray, two workers against one, global L1", own=own, other=other, must=1.5, goal=1.8, is_speedup=True)


def resumed(bench: Bench, source: Path) -> Iterator[Row]:
    """Yield the row of a job of a server whose process is killed when half of its files are there."""
    result, undo = bench.folder("result")
    with running_server(stores=bench.work.as_uri()) as server:
        words = [sys.executable, "-m", "pruning_client", "run", source.as_uri(), "-o", result.as_uri()]
        side = Side(title="a job", words=[*words, *GLOBAL, "--server", server.address], undo=undo)
        (undisturbed,) = bench.medians(side)
        half = len(list(source.glob("*.safetensors"))) // 2
        seconds = []
        for _ in range(bench.rounds):
            killer = threading.Thread(target=_kill_at, args=(server.process.pid, result, half))
            killer.start()
            seconds.append(measured([str(word) for word in side.words]).seconds)
            killer.join()
            undo()
    own = Use(statistics.median(seconds), 0.0, undisturbed.peak_bytes)
    yield Row(work="a job killed half-way, against undisturbed", own=own, other=undisturbed, must=1.25, goal=1.1)


def _kill_at(server: int, result: Path, files: int) -> None:
    """Kill the process of the server's job when that number of files is there."""
    while len(list(result.glob("*.safetensors"))) < files:
        time.sleep(POLL_SECONDS)
    for process in psutil.Process(server).children(recursive=True):
        process.kill()


SECTIONS: Final[Mapping[str, Callable[[Bench, Path], Iterator[Row]]]] = {
    "copies": copies,
    "torch": torchs,
    "s3": stores,
    "ray": rays,
    "resumed": resumed,
}


def main() -> None:
    """Print the table, line by line."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--gigabytes", type=float, default=8.0)
    words.add_argument("--torch-gigabytes", type=float, default=2.0, help="of the section torch")
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--folder", type=Path, help="where models and results are written; default: temporary")
    words.add_argument("--only", nargs="+", choices=list(SECTIONS), default=list(SECTIONS), help="default: all")
    options = words.parse_args()
    idle = measured([sys.executable, "-c", "import pruning_client.cli.main, time; time.sleep(0.3)"]).peak_bytes
    _print("| work | seconds | other side | | MB above idle |\n| --- | --: | --: | --- | --: |")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        bench = Bench(Path(name), options.rounds, idle)
        for section in options.only:
            with _model(bench, options.torch_gigabytes if section == "torch" else options.gigabytes) as source:
                for row in SECTIONS[section](bench, source):
                    _print(row.text)


@contextmanager
def _model(bench: Bench, gigabytes: float) -> Iterator[Path]:
    """Write a model, one for each size, and have it in the page cache."""
    source = bench.work / f"model-{gigabytes:g}"
    if not source.exists():
        write_model(source, int(gigabytes * 1e9))
    subprocess.run(["sh", "-c", f"cat {source}/* > /dev/null"], check=True)
    yield source


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
