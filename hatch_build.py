"""Compiles the kernels' C file into the wheel, or beside its source for an editable install.

A shared library that Python loads with ctypes, so that one wheel fits every version of Python. Without a C compiler, or
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

SOURCE = Path("pruning_engine/kernels/compiled/kernels.c")
LIBRARY = SOURCE.with_suffix(".so")
FLAGS = ("-std=c11", "-O3", "-shared", "-fPIC", "-fvisibility=hidden", "-s")


class CompiledKernels(BuildHookInterface[Any]):
    """Runs before each wheel is built, an editable one too."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and mark the wheel as one of this platform. `version` is "standard" or "editable"."""
        source = Path(self.root) / SOURCE
        library = Path(self.root) / LIBRARY if version == "editable" else Path(self.directory) / LIBRARY.name
        library.parent.mkdir(parents=True, exist_ok=True)
        library.unlink(missing_ok=True)
        problem = compile_kernels(source, library)
        if problem:
            self.app.display_warning(f"compiled kernels are left out, numpy is used instead: {problem}")
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        if version != "editable":  # whose library is beside its source
            build_data["force_include"][str(library)] = str(LIBRARY)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - hatchling's
        """Remove the library, which is in the wheel now."""
        if version != "editable":
            (Path(self.directory) / LIBRARY.name).unlink(missing_ok=True)


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
