"""Pruning by reference against copying, as ratios: `python -m tests.benchmarks.stores [--gigabytes G] [ROW ...]`

A model's folder of random fp32 weights in shards, half of them zeros, in the page cache. Both sides are processes of
their own that take turns; the median of their times counts. `paths`: `prune run FOLDER -o FOLDER` against `cp -r`.
`file`: the same through stores, as a job does it whose plan is not divided. `s3`: from bucket to bucket on a SeaweedFS
on loopback, against obstore that streams the same objects into new ones.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from pruning_proto.limits import MIB
from pruning_proto.safetensors.header import build
from pruning_service.stores.stores import Stores, StoreSettings
from pruning_service.stores.uris import StoreUri
from tests.seaweed import BUCKET, running_s3

_TENSOR: Final = (4096, 2048)
"""34 MB of fp32, as in a model of 1 to 3 billion parameters."""

_MEDIAN: Final = 0.6745
"""Of the magnitudes of normal values: half of them are pruned already, and the result has the bytes of the source."""

_CONFIG: Final = b'{"model_type": "llama"}'
_L1: Final = ("--method", "l1_unstructured", "--amount", "0.5", "--quiet")

_COPY: Final = """
import asyncio, os, sys, obstore
from obstore.store import S3Store
store = S3Store(sys.argv[1], endpoint=os.environ["PRUNING_STORE_ENDPOINT"], client_options={"allow_http": True})
async def main():
    for page in obstore.list(store, sys.argv[2]):
        for meta in page:
            found = await obstore.get_async(store, meta["path"])
            target = meta["path"].replace(sys.argv[2], sys.argv[3], 1)
            await obstore.put_async(store, target, found.stream(8 << 20), chunk_size=8 << 20)
asyncio.run(main())
"""

_STORED: Final = """
import sys
from pruning_client import Recipe, rules
from pruning_client.huggingface.folder import FolderOptions
from pruning_client.local.client import LocalClient
from pruning_client.stored.prune import StoredRun, prune_stored
from pruning_service.stores.stores import Stores
from pruning_service.stores.uris import StoreUri
options = FolderOptions(recipe=Recipe([rules.l1_unstructured(0.5)]), output="pruned")
run = StoredRun(source=StoreUri.parse(sys.argv[1]), target=StoreUri.parse(sys.argv[2]), options=options)
with Stores() as stores, LocalClient() as client:
    prune_stored(client, stores, run)
"""


def main(words: Sequence[str]) -> int:
    """Measure the rows that the words name, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.stores")
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("rows", nargs="*", choices=[*_ROWS, []], metavar="ROW")
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="prune-bench-") as name:
        folder = Path(name)
        _write_model(folder / "model", options.gigabytes, options.shards)
        for row in options.rows or _ROWS:
            _ROWS[row](folder, options.rounds)
    return 0


def paths(folder: Path, rounds: int) -> None:
    """Path to path."""
    pruned = (*_python("-m", "pruning_client"), "run", folder / "model", "-o", folder / "out", *_L1)
    _compare("paths", _copying(folder), pruned, lambda: _remove(folder), rounds)


def stored_files(folder: Path, rounds: int) -> None:
    """The same through stores, as a job does it."""
    pruned = (*_python("-c", _STORED), f"file://{folder}/model", f"file://{folder}/out")
    _compare("file", _copying(folder), pruned, lambda: _remove(folder), rounds)


def s3(folder: Path, rounds: int) -> None:
    """Bucket to bucket."""
    with running_s3() as server, Stores(StoreSettings(endpoint=server.endpoint)) as stores, _set(server.environment):
        store = stores.open(StoreUri.parse(f"s3://{BUCKET}"))
        for path in (folder / "model").iterdir():
            with path.open("rb") as file, store.writer(f"model/{path.name}", path.stat().st_size) as writer:
                while block := file.read(8 * MIB):
                    writer.write(block)
                writer.complete()

        def remove() -> None:
            for key in [found.key for prefix in ("copy", "out") for found in store.list(prefix)]:
                store.delete(key)

        place = f"s3://{BUCKET}"
        copied = (*_python("-c", _COPY), BUCKET, "model", "copy")
        pruned = (*_python("-m", "pruning_client"), "run", f"{place}/model", "-o", f"{place}/out", *_L1)
        _compare("s3", copied, pruned, remove, rounds)


_ROWS: Final[Mapping[str, Callable[[Path, int], None]]] = {"paths": paths, "file": stored_files, "s3": s3}


def _compare(
    row: str, copied: Sequence[object], pruned: Sequence[object], remove: Callable[[], object], rounds: int
) -> None:
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(rounds):
        for is_pruned, command in ((False, copied), (True, pruned)):
            remove()
            os.sync()
            begin = time.monotonic()
            subprocess.run([*map(str, command)], check=True, env=_environment())
            seconds[is_pruned].append(time.monotonic() - begin)
    copy, prune = (statistics.median(seconds[each]) for each in (False, True))
    print(f"{row:6} copied {copy:6.2f} s, pruned {prune:6.2f} s, {prune / copy:.2f} x")  # noqa: T201


def _environment() -> dict[str, str]:
    """Return the environment, in which Python keeps what it has compiled, as where it is installed."""
    return {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _copying(folder: Path) -> Sequence[object]:
    return ("cp", "-r", folder / "model", folder / "copy")


def _python(*words: str) -> Sequence[str]:
    return (sys.executable, *words)


def _remove(folder: Path) -> None:
    for name in ("copy", "out"):
        shutil.rmtree(folder / name, ignore_errors=True)


@contextmanager
def _set(environment: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _write_model(folder: Path, gigabytes: float, shards: int) -> None:
    folder.mkdir()
    (folder / "config.json").write_bytes(_CONFIG)
    random = np.random.default_rng(0)
    count = max(1, round(gigabytes * 1e9 / (4 * _TENSOR[0] * _TENSOR[1]) / shards))
    files: dict[str, str] = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        names = [f"model.layers.{shard * count + at}.mlp.up_proj.weight" for at in range(count)]
        header, _ = build([(name, "F32", _TENSOR) for name in names], {"format": "pt"})
        with (folder / file).open("wb") as out:
            out.write(header)
            for _ in names:
                entries = random.standard_normal(_TENSOR, np.float32)
                entries[np.abs(entries) < _MEDIAN] = 0  # SeaweedFS compresses what it can: both sides write such bytes
                out.write(entries.data)
        files |= dict.fromkeys(names, file)
    weight_map = ", ".join(f'"{name}": "{file}"' for name, file in files.items())
    (folder / "model.safetensors.index.json").write_text(f'{{"metadata": {{}}, "weight_map": {{{weight_map}}}}}')


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
