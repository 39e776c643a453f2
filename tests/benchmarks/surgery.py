"""Half of the experts removed from a folder, against a copy: `python -m tests.benchmarks.surgery [--gigabytes N]`.

The folder is a mixture-of-experts model in 8 shards with one tensor per expert, as Qwen3-MoE has it, of random bf16. It
is pruned in one process by the magnitude of the routers, also with the check by transformers, which this architecture
does not need. Beside it stand `cp` of the bytes that remain, without and with waiting for the disk (which the result of
pruning waits for), and the converter of compressed-tensors 0.20.1. All take turns; the fastest round of each counts.
Memory is what all processes of a command hold at once, mapped files aside, above what a process does that only imports
the package. Seconds of cores are those of all processes, in user and in system mode.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pruning_client.checkpoints.split import write_index
from pruning_client.checkpoints.weight_files import WeightNames
from pruning_proto.safetensors.header import TensorEntry, build
from scripts.environments import pinned, python_with

SHARDS: Final = 8
EXPERTS: Final = 32
HIDDEN: Final = 2048
POLL_SECONDS: Final = 0.01
REQUIREMENTS: Final = ["compressed-tensors==0.20.1", *map(pinned, ("torch", "transformers", "numpy", "safetensors"))]
CHECK: Final = "--check-with-transformers"
PRUNER: Final = Path(__file__).with_name("expert_pruner.py")


@dataclass(frozen=True)
class Use:
    """What a command took. Units: seconds, seconds of cores, bytes."""

    seconds: float
    core_seconds: float
    peak_bytes: int


def main() -> None:
    """Print the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--gigabytes", type=float, default=4.0)
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--folder", type=Path, help="where the model and the results are written; default: temporary")
    words.add_argument("--without-compressed-tensors", action="store_true", help="for where nothing is installed")
    options = words.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        work = Path(name)
        source = work / "model"
        write_model(source, int(options.gigabytes * 1e9))
        rows = list(_rows(source, work, options.rounds, has_other=not options.without_compressed_tensors))
    print(f"{'':<42}{'seconds':>9}{'of cores':>10}{'MB':>6}{'pruned takes':>14}")  # noqa: T201
    for title, use in rows:
        ratio = "" if use is rows[0][1] else f"{rows[0][1].seconds / use.seconds:.2f} x"
        line = f"{title:<42}{use.seconds:>9.2f}{use.core_seconds:>10.2f}{use.peak_bytes / 1e6:>6.0f}{ratio:>14}"
        print(line)  # noqa: T201


def _rows(source: Path, work: Path, rounds: int, *, has_other: bool) -> Iterator[tuple[str, Use]]:
    idle = measured([sys.executable, "-c", "import pruning_client.cli.main, time; time.sleep(0.3)"]).peak_bytes
    commands = dict(_commands(source, work, has_other=has_other))
    uses: dict[str, list[Use]] = {title: [] for title in commands}
    for _ in range(rounds):  # in turns, so that whatever else the machine does is the same for all
        for title, command in commands.items():
            shutil.rmtree(command.result, ignore_errors=True)
            os.sync()
            uses[title].append(measured(command.words))
    for title, found in uses.items():
        best = min(found, key=lambda use: use.seconds)
        base = idle if commands[title].is_ours else 0
        yield title, Use(best.seconds, min(use.core_seconds for use in found), max(u.peak_bytes for u in found) - base)


@dataclass(frozen=True)
class Command:
    """A command and the folder that it writes."""

    words: Sequence[str]
    result: Path
    is_ours: bool = False


def _commands(source: Path, work: Path, *, has_other: bool) -> Iterator[tuple[str, Command]]:
    result, copy, other = work / "result", work / "copy", work / "other"
    half = str(EXPERTS // 2)
    run = [sys.executable, "-m", "pruning_client", "run", str(source), "-o", str(result), "--quiet"]
    run += ["--keep-experts", half]
    yield f"prune run --keep-experts {half}, local", Command(run, result, is_ours=True)
    yield f"the same, {CHECK}", Command([*run, CHECK], result, is_ours=True)
    for title, end in (("cp of what remains", ""), ("cp of what remains, and wait for the disk", f" && sync {copy}/*")):
        yield title, Command(["sh", "-c", f"cp -r --reflink=never {result} {copy}{end}"], copy)
    if has_other:
        python = python_with("compressed-tensors", REQUIREMENTS)
        yield "compressed-tensors 0.20.1", Command([str(python), str(PRUNER), str(source), str(other)], other)


def measured(command: Sequence[str], variables: Mapping[str, str] | None = None) -> Use:
    """Run a command; return what it took. `variables`: its environment. Raises: CalledProcessError."""
    begin, before = time.perf_counter(), os.times()
    environment = {
        name: value for name, value in (variables or os.environ).items() if name != "PYTHONDONTWRITEBYTECODE"
    }
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        peak = _TreePeak(process.pid)
        with peak:
            _, errors = process.communicate()
    seconds, after = time.perf_counter() - begin, os.times()
    if process.returncode:
        sys.stderr.write(errors.decode(errors="replace"))
        raise subprocess.CalledProcessError(process.returncode, command)
    cores = after.children_user - before.children_user + after.children_system - before.children_system
    return Use(seconds, cores, peak.most)


class _TreePeak:
    """The most memory that a process and all below it hold at one time while inside, mapped files aside. Polled."""

    def __init__(self, process: int) -> None:
        self.most = 0
        self._process = process
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._poll)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _poll(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            self.most = max(self.most, sum(map(_held, _tree(self._process))))


def _tree(process: int) -> Iterator[int]:
    yield process
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            children = task.read_text(encoding="ascii").split()
        except OSError:  # it has ended
            continue
        for child in children:
            yield from _tree(int(child))


def _held(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    except OSError:  # it has ended
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon", "RssShmem")))


def write_model(folder: Path, size: int) -> None:
    """Write a model of about `size` bytes, one layer in each shard."""
    folder.mkdir()
    width = max(64, size // (SHARDS * EXPERTS * 3 * HIDDEN * 2) // 64 * 64)
    files = {}
    names = WeightNames()
    for layer in range(SHARDS):
        file = names.shard(layer, SHARDS)
        header, layout = build(_tensors(layer, width), {"format": "pt"})
        _write(folder / file, header, layout.tensors)
        files[file] = layout.tensors
    write_index(folder, names, files, {})
    (folder / "config.json").write_text(json.dumps(_config(width), indent=2))


def _tensors(layer: int, width: int) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    block = f"model.layers.{layer}"
    if layer == 0:
        yield "model.embed_tokens.weight", "BF16", (1000, HIDDEN)
    for name, shape in _ATTENTION.items():
        yield f"{block}.{name}.weight", "BF16", shape
    yield f"{block}.mlp.gate.weight", "BF16", (EXPERTS, HIDDEN)
    for expert in range(EXPERTS):
        for name, shape in (("gate", (width, HIDDEN)), ("up", (width, HIDDEN)), ("down", (HIDDEN, width))):
            yield f"{block}.mlp.experts.{expert}.{name}_proj.weight", "BF16", shape
    if layer == SHARDS - 1:
        yield "model.norm.weight", "BF16", (HIDDEN,)
        yield "lm_head.weight", "BF16", (1000, HIDDEN)


_ATTENTION: Final[dict[str, tuple[int, ...]]] = {
    **{f"self_attn.{name}_proj": (512, HIDDEN) for name in "qkv"},
    "self_attn.o_proj": (HIDDEN, 512),
    **{f"self_attn.{name}_norm": (128,) for name in "qk"},
    "input_layernorm": (HIDDEN,),
    "post_attention_layernorm": (HIDDEN,),
}


def _config(width: int) -> dict[str, object]:
    return {
        "architectures": ["Qwen3MoeForCausalLM"],
        "model_type": "qwen3_moe",
        "hidden_size": HIDDEN,
        "head_dim": 128,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "num_hidden_layers": SHARDS,
        "num_experts": EXPERTS,
        "num_experts_per_tok": 4,
        "moe_intermediate_size": width,
        "intermediate_size": width,
        "vocab_size": 1000,
        "tie_word_embeddings": False,
    }


def _write(path: Path, header: bytes, tensors: Sequence[TensorEntry]) -> None:
    """Write a file of random bytes, none of which is an infinity or NaN in bf16."""
    block = bytearray(os.urandom(8 * 1024 * 1024))
    block[1::2] = bytes(0x3C + (value & 0x83) for value in block[1::2])
    left = tensors[-1].end
    with path.open("wb") as file:
        file.write(header)
        while left:
            left -= file.write(memoryview(block)[:left])


if __name__ == "__main__":
    main()
