"""The compiled kernels with AddressSanitizer and UndefinedBehaviorSanitizer, for a process that is started for it.

A library with AddressSanitizer can be loaded only where the runtime came first, by LD_PRELOAD. What it finds
ends the process with a report. Python's own small allocations go through malloc there, so that it sees these too.
"""

import hashlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruning_engine.kernels.compiled import library, statistics_kernels
from scripts.environments import ROOT

FLAGS = ("-std=c11", "-O1", "-g", "-fno-omit-frame-pointer", "-shared", "-fPIC", "-fvisibility=hidden")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")

LIBRARIES = "SANITIZED_KERNELS"
"""The variable that names the folder of the libraries, in the process that uses them."""

OPTIONS: Mapping[str, str] = {
    "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0:exitcode=1",  # the interpreter frees little when it ends
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "PYTHONMALLOC": "malloc",
}


def gcc_runtime() -> str | None:
    """Return the path of gcc's runtime of AddressSanitizer; None where it is not installed."""
    if shutil.which("gcc") is None:
        return None
    found = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    path = Path(found.stdout.strip())
    return str(path.resolve()) if path.is_absolute() else None


def built(compiler: Sequence[str]) -> Path:
    """Return the folder of the libraries, compiled once for each source and compiler.

    Raises: subprocess.CalledProcessError; what the compiler said is on stderr.
    """
    sources = library.PATH.parent
    content = b"".join(part.read_bytes() for part in sorted(sources.glob("*.[ch]")))
    key = hashlib.sha256(content + shlex.join((*compiler, *FLAGS, *SANITIZERS)).encode()).hexdigest()[:12]
    folder = ROOT / ".cache" / "sanitized" / key
    folder.mkdir(parents=True, exist_ok=True)
    return compiled(compiler, sources, folder)


def compiled(compiler: Sequence[str], sources: Path, folder: Path) -> Path:
    """Compile the C files of a folder into another, unless the libraries are there. Raises: as `built`."""
    for source in sorted(sources.glob("*.c")):
        target = folder / f"{source.stem}.so"
        if not target.exists():
            unfinished = target.with_suffix(f".{os.getpid()}")
            subprocess.run([*compiler, *FLAGS, *SANITIZERS, "-o", unfinished, source, "-lm"], check=True)
            unfinished.replace(target)
    return folder


def use_if_asked() -> None:
    """Load the libraries of the folder that the environment names, if it names one, instead of the ordinary ones."""
    folder = os.environ.get(LIBRARIES)
    if not folder:
        return
    modules: tuple[Any, ...] = (library, statistics_kernels)
    for module in modules:
        module.PATH = Path(folder) / module.PATH.name
    if library.load() is None:
        raise RuntimeError(f"the libraries in {folder} cannot be loaded; is the sanitizer's runtime in LD_PRELOAD?")
