"""The compiled kernels under AddressSanitizer: the fixed inputs, and as many more of the same kind, touch nothing else.

It compiles them anew, which takes a while; `make fuzz` looks for new inputs.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pruning_engine.kernels.compiled.library import PATH
from scripts.environments import ROOT
from tests.fuzzing import sanitized

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(600),
    pytest.mark.skipif(sanitized.gcc_runtime() is None, reason="gcc or its AddressSanitizer is not installed"),
]

PROGRAM = """
import random, sys
from tests.fuzzing import sanitized
from tests.fuzzing.targets import TARGETS

sanitized.use_if_asked()
generator = random.Random(1)
for target in (target for target in TARGETS.values() if target.is_native):
    inputs = [path.read_bytes() for path in sorted(target.corpus.iterdir())]
    inputs += [generator.randbytes(generator.randint(8, target.most_bytes)) for _ in range(int(sys.argv[1]))]
    for data in inputs:
        target.check(data)
print("done")
"""


def run(libraries: Path, inputs: int) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        **sanitized.OPTIONS,
        sanitized.LIBRARIES: str(libraries),
        "LD_PRELOAD": str(sanitized.gcc_runtime()),
    }
    command = [sys.executable, "-c", PROGRAM, str(inputs)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_kernels_stay_within_their_arrays() -> None:
    done = run(sanitized.built(["gcc"]), 600)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\n"


def test_one_entry_too_many_would_be_found(tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    shutil.copytree(PATH.parent, sources, ignore=shutil.ignore_patterns("*.so", "*.py", "__pycache__"))
    kernels = sources / "kernels.c"
    text = kernels.read_text()
    assert text.count("memcpy(last, block, (size_t)entries_left * sizeof *block);") > 0
    kernels.write_text(
        text.replace(
            "memcpy(last, block, (size_t)entries_left * sizeof *block);",
            "memcpy(last, block, (size_t)(entries_left + 1) * sizeof *block);",
        )
    )
    done = run(sanitized.compiled(["gcc"], sources, tmp_path), 600)
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr
