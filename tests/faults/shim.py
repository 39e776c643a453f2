"""A server whose clock jumps and whose threads cannot be started, when a test says so: see shim.c.

Nothing of the server knows of it: it is between the server and the C library, and needs a C compiler.
"""

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers import ServerProcess, server_of

SOURCE = Path(__file__).with_name("shim.c")
COMPILER = shutil.which("cc") or shutil.which("gcc")
needs_compiler = pytest.mark.skipif(
    COMPILER is None or not sys.platform.startswith("linux"), reason="this needs Linux and a C compiler"
)


class Shim:
    """What the processes of one server find."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._clock_offset = 0
        self._write(refuses_threads=False)

    def set_clock(self, offset_seconds: int) -> None:
        """Set the clock so far from the true time."""
        self._clock_offset = offset_seconds
        self._write(refuses_threads=False)

    @contextmanager
    def no_threads(self) -> Iterator[None]:
        """Have no thread start while inside."""
        self._write(refuses_threads=True)
        try:
            yield
        finally:
            self._write(refuses_threads=False)

    def _write(self, *, refuses_threads: bool) -> None:
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("=qq", self._clock_offset, refuses_threads))


@contextmanager
def server_with_shim(folder: Path, **settings: str) -> Iterator[tuple[ServerProcess, Shim]]:
    """Run a server with the shim, which is compiled into `folder`, while inside."""
    assert COMPILER is not None
    library = folder / "shim.so"
    flags = ["-std=gnu11", "-O1", "-shared", "-fPIC"]
    subprocess.run([COMPILER, *flags, "-o", library, SOURCE, "-ldl", "-lpthread"], check=True)
    shim = Shim(folder / "faults")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PRUNING_")}
    environment = {**inherited, "LD_PRELOAD": str(library), "FAULTS_FILE": str(folder / "faults")}
    with server_of(sys.executable, environment, **settings) as server:
        yield server, shim
