"""Measure where zeros help: `python -m tests.benchmarks.where_zeros_help [--write] [--only PART ...] [--threads N]`

Prints the tables of docs/where_zeros_help.md in Markdown; `--write` puts them into that page, between its markers, with
the machine and the versions. Each part runs in a process of its own. What it needs beside `.venv` is installed into an
environment of its own when it is first asked for. About five minutes on two cores that do nothing else.
"""

import argparse
import importlib
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Final

import torch

from scripts.environments import ROOT
from tests.benchmarks.where_zeros_help import packages

PAGE: Final = ROOT / "docs" / "where_zeros_help.md"
PARTS: Final = (
    *("machine", "files", "torch_layouts", "whole_model", "onnx_runtime", "open_vino"),
    *("semi_structured", "gguf_types", "int8"),
)
_PACKAGES: Final = ("torch", "transformers", "safetensors", "backports.zstd", "gguf")


def main() -> None:
    """Measure the parts that are asked for."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--write", action="store_true", help="put the tables into docs/where_zeros_help.md")
    words.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    words.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    words.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = words.parse_args()
    torch.set_num_threads(options.threads)
    if options.here:
        print(_measured(options.only[0]))  # noqa: T201
        return
    for part in options.only:
        text = _in_own_process(part, options.threads)
        print(f"{part}\n\n{text}\n", flush=True)  # noqa: T201
        if options.write:
            PAGE.write_text(with_part(PAGE.read_text(), part, text))


def with_part(page: str, part: str, text: str) -> str:
    """Return a page with the text of a part between its markers. Raises: ValueError if the page lacks them."""
    begin, end = f"<!-- measured: {part} -->\n", "\n<!-- end -->"
    before, marker, rest = page.partition(begin)
    if not marker or end not in rest:
        raise ValueError(f"the page has no lines {begin.strip()} and {end.strip()}")
    return f"{before}{begin}\n{text}\n{rest[rest.index(end) :]}"


def _in_own_process(part: str, threads: int) -> str:
    command = [sys.executable, "-m", __package__, "--only", part, "--threads", str(threads), "--here"]
    patient = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}  # threads that spin would slow what is measured next
    done = subprocess.run(command, cwd=ROOT, env=patient, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def _measured(part: str) -> str:
    if part == "machine":
        return _machine()
    module = importlib.import_module(f"{__package__}.{part}")
    return "\n\n".join(map(str, module.tables()))


def _machine() -> str:
    others = [requirement.replace("==", " ") for requirement in packages.REQUIREMENTS]
    versions = [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in _PACKAGES), *others]
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    threads = torch.get_num_threads()
    return f"{_processor()}, {threads} threads, {gpu}. {', '.join(versions)}."


def _processor() -> str:
    """Return what the processor says of itself, with the instruction sets that matter here."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    about = {key.strip(): value.strip() for key, value in lines.items()}
    sets = [name for name in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8") if name in text]
    name = about.get("model name", platform.processor())
    return f"{name} ({about.get('cpu family', '?')}/{about.get('model', '?')}; {', '.join(sets)})"


if __name__ == "__main__":
    main()
