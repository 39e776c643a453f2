"""Packed files against dense ones: bytes and seconds. `python -m tests.benchmarks.packed [--millions N] [--rounds N]`

Of N million fp32 weights in matrices of 1024 columns, and twice as many of bf16, with half and with nine in ten
pruned, and of the real MiniLM with half of its weights pruned, each without and with zstd: what the packed file takes
of the dense one's bytes, and the median seconds of packing, unpacking and loading, beside those of copying the dense
file in the same way (in pieces, to a file that is whole or not there at all).
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final, Literal

import numpy as np

from pruning_client import pack_file, unpack_file
from pruning_client.checkpoints.atomic_file import replacing
from pruning_client.checkpoints.compressed import read_packed
from pruning_client.checkpoints.file import FileSource
from pruning_client.clients.sync import Client
from pruning_client.rules import l1_unstructured
from pruning_proto.safetensors.header import build
from scripts.demo import minilm
from scripts.embedded_server import embedded_server

SHAPE = (1024, 1024)

_COMPRESSIONS: Final[tuple[Literal["zstd"] | None, ...]] = (None, "zstd")


@dataclass(frozen=True)
class Row:
    """What one model came to. Units: bytes and seconds."""

    name: str
    dense_bytes: int
    packed_bytes: int
    write: float
    pack: float
    unpack: float
    load: float

    def __str__(self) -> str:
        ratio = self.packed_bytes / self.dense_bytes
        slower = self.pack / self.write
        return (
            f"{self.name:<36}{self.dense_bytes / 1e6:>8.1f}{self.packed_bytes / 1e6:>8.1f}{ratio:>8.1%}"
            f"{self.write:>9.3f}{self.pack:>8.3f}{slower:>6.2f}x{self.unpack:>9.3f}{self.load:>8.3f}"
        )


HEAD = (
    f"{'model':<36}{'dense MB':>8}{'packed':>8}{'ratio':>8}"
    f"{'write s':>9}{'pack s':>8}{'':>7}{'unpack s':>9}{'load s':>8}"
)


def main() -> None:
    """Print the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--millions", type=int, default=85, help="of weights")
    words.add_argument("--rounds", type=int, default=5)
    options = words.parse_args()
    print(HEAD)  # noqa: T201
    with tempfile.TemporaryDirectory() as folder:
        for dense in _models(Path(folder), options.millions):
            for compression in _COMPRESSIONS:
                print(_measured(dense, options.rounds, compression), flush=True)  # noqa: T201


def _models(folder: Path, millions: int) -> Iterator[Path]:
    for dtype, sparsity in product(("F32", "BF16"), (0.5, 0.9)):
        path = folder / f"{dtype.lower()}, {sparsity:.0%} pruned"
        with _alone(path):
            _write_random(path, millions, dtype, sparsity)
            yield path
    path = folder / "MiniLM, half pruned globally"
    with _alone(path), embedded_server() as server, Client(server.address) as client:
        client.prune_file(minilm(), path, l1_unstructured(0.5, scope="global"))
        yield path


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one model be on the disk at a time."""
    yield
    path.unlink()


def _write_random(path: Path, millions: int, dtype: str, sparsity: float) -> None:
    """Write normally distributed weights of which the smallest are pruned."""
    random = np.random.default_rng(0)
    weights = random.standard_normal(SHAPE, dtype=np.float32)
    weights[np.abs(weights) <= np.quantile(np.abs(weights), sparsity)] = 0
    data = weights.view(np.uint16)[:, 1::2].copy() if dtype == "BF16" else weights  # bf16: the upper halves
    count = max(1, round(4e6 * millions / data.nbytes))
    header, _ = build([(f"layers.{number}.weight", dtype, SHAPE) for number in range(count)], {})
    with replacing(path) as file:
        file.write(header)
        for _ in range(count):
            file.write(data.reshape(-1).view(np.uint8).data)


def _measured(dense: Path, rounds: int, compression: Literal["zstd"] | None) -> Row:
    packed, back = dense.with_name("packed"), dense.with_name("back")
    steps: list[Callable[[], object]] = [
        lambda: _copy(dense, back),
        lambda: pack_file(dense, packed, compression=compression),
        lambda: unpack_file(packed, back),
        lambda: read_packed(packed),
    ]
    seconds = [[_seconds(step) for step in steps] for _ in range(rounds)]
    row = Row(
        dense.name + (f", {compression}" if compression else ""),
        dense.stat().st_size,
        packed.stat().st_size,
        *(statistics.median(column) for column in zip(*seconds, strict=True)),
    )
    packed.unlink()
    back.unlink()
    return row


def _copy(dense: Path, out: Path) -> None:
    """Read a file and write it as it is."""
    source = FileSource(dense)
    with replacing(out) as file:
        file.write(source.header)
        for piece in source.pieces():
            file.write(piece)


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
