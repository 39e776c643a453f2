"""Models in folders, jobs on them, and processes that are killed at a given moment."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil  # type: ignore[import-untyped]  # it ships no types
from safetensors.numpy import save_file

from pruning_client import Client, Job, Report, Rule, rules
from pruning_client.errors import PruningError
from tests.servers import ServerProcess

GLOBAL_HALF = rules.l1_unstructured(0.5, scope="global")
LEASE_SECONDS = 2.0
WAIT_SECONDS = 100.0


def settings(root: Path, **others: str) -> dict[str, str]:
    """Return the settings of a server whose only place is a folder."""
    return {"stores": f"file://{root}", "lease_seconds": f"{LEASE_SECONDS}", "threads": "1", **others}


def model(folder: Path, *, shards: int = 4, size: int = 512) -> Path:
    """Write the folder of a model of several shards; return it."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    weight_map: dict[str, str] = {}
    for shard in range(shards):
        name = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        tensors = {f"layers.{shard}.{part}.weight": draw.normal(size=(size, size)).astype(np.float32) for part in "abc"}
        save_file(tensors, folder / name, {"format": "pt"})
        weight_map |= dict.fromkeys(tensors, name)
    index = f'{{"metadata": {{}}, "weight_map": {_json(weight_map)}}}'
    (folder / "model.safetensors.index.json").write_text(index)
    (folder / "config.json").write_text('{"model_type": "none"}')
    (folder / "notes.txt").write_text("as they were")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """Return all files of a folder, unfinished ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def begun(client: Client, root: Path, name: str, recipe: Rule = GLOBAL_HALF) -> Job:
    """Begin a job on the model in `root`."""
    return client.prune_checkpoint(f"file://{root}/in", f"file://{root}/{name}", recipe, name=name)


def ended(job: Job) -> Report | PruningError:
    """Wait for the end of a job; return its report or its error."""
    try:
        return job.wait(timeout=WAIT_SECONDS)
    except PruningError as error:
        if not job.is_done:
            raise
        return error


def workers_of(server: ServerProcess) -> list[psutil.Process]:
    """Return the processes that carry out jobs of a server."""
    return [child for child in psutil.Process(server.process.pid).children() if _is_worker(child)]


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Wait until something is so; return whether it came to be."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "pruning_client.jobs" in process.cmdline()
    except psutil.Error:  # it has ended meanwhile
        return False


def _json(names: dict[str, str]) -> str:
    return "{" + ", ".join(f'"{key}": "{value}"' for key, value in names.items()) + "}"


def moments(root: Path, name: str, server: ServerProcess) -> Iterator[tuple[str, Callable[[], bool]]]:
    """Yield moments of a job at which a process may be killed, each with how to see that it has come."""
    state, target = root / "_pruning" / name, root / name

    def lease() -> str:
        return "".join(path.read_text() for path in state.glob("*/lease"))

    yield "taken", lambda: '"owner"' in lease()
    yield "started", lambda: workers_of(server) != []
    yield "claimed", lambda: '"has_target": true' in lease()
    yield "first bytes", target.exists
    yield "first file", lambda: target.is_dir() and any(target.glob("*.safetensors"))
    yield "last file", (target / "config.json").exists
    yield "reported", lambda: any(state.glob("*/report"))
