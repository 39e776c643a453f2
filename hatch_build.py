"""Compiles the kernels' C files into the wheel, or beside their sources for an editable install.

Shared libraries that Python loads with ctypes, so that one wheel fits every version of Python. Without a C compiler, or
with NO_COMPILED_KERNELS=1, the wheel has none: the engine then uses numpy, which computes the same results.
"""

import os
import shlex
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = tuple(Path("pruning_engine/kernels/compiled") / name for name in ("kernels.c", "calibrated.c"))
FLAGS = ("-std=c11", "-O3", "-shared", "-fPIC", "-fvisibility=hidden", "-s")


class CompiledKernels(BuildHookInterface[Any]):
    """Runs before each wheel is built, an editable one too."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and mark the wheel as one of this platform. `version` is "standard" or "editable"."""
        for source in SOURCES:
            library = source.with_suffix(".so")
            target = Path(self.root) / library if version == "editable" else Path(self.directory) / library.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            problem = compile_kernels(Path(self.root) / source, target)
            if problem:
                self.app.display_warning(f"compiled kernels are left out, numpy is used instead: {problem}")
                return
            if version != "editable":  # whose library is beside its source
                build_data["force_include"][str(target)] = str(library)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - hatchling's
        """Remove the libraries, which are in the wheel now."""
        for source in SOURCES if version != "editable" else ():
            (Path(self.directory) / source.with_suffix(".so").name).unlink(missing_ok=True)


def compile_kernels(source: Path, library: Path) -> str | None:
    """Compile `source` into `library`. Return why there is none, or None."""
    if os.environ.get("NO_COMPILED_KERNELS"):
        return "NO_COMPILED_KERNELS is set"
    compiler = shlex.split(os.environ.get("CC", "")) or [shutil.which("cc") or shutil.which("gcc") or "cc"]
    unfinished = library.with_suffix(".so.part")
    command = [*compiler, *FLAGS, "-o", str(unfinished), str(source)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - the compiler that builds it
    except FileNotFoundError:
        return f"there is no C compiler ({compiler[0]})"
    except subprocess.CalledProcessError as error:
        return f"{shlex.join(command)} failed: {error.stderr.strip() or error.returncode}"
    unfinished.replace(library)  # a process that has loaded the earlier one keeps it
    return None
