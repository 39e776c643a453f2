"""One run of a fuzzer on one target: the process, its inputs and what it reports.

Inputs that reach something new stay below `.cache/fuzzing`, so that the next run goes on from there.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.environments import ROOT, python_with
from tests.fuzzing import sanitized
from tests.fuzzing.targets import Target

REQUIREMENTS = ["atheris==3.0.0"]
SECONDS_PER_INPUT = 30
MEBIBYTES = 2048
WORK = ROOT / ".cache" / "fuzzing"
CLANG = ("clang", "clang-14")

_PROGRESS = re.compile(r"^#(\d+)\s.*?\bcov: (\d+) ft: (\d+)", re.MULTILINE)
_DONE = re.compile(r"^Done (\d+) runs in (\d+) second", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """What a run did. `coverage` counts edges, `features` also how often they are taken; `findings` are files."""

    target: str
    executions: int
    seconds: float
    coverage: int
    features: int
    findings: Sequence[Path]

    def __str__(self) -> str:
        return (
            f"{self.target}: {self.executions:,} executions in {self.seconds / 60:.1f} minutes, coverage "
            f"{self.coverage:,} edges ({self.features:,} features), {len(self.findings)} findings"
        )


def fuzzed(target: Target, minutes: float, seed: int) -> Outcome:
    """Fuzz one target and return what was found; what the fuzzer says is on stderr.

    Raises: RuntimeError if it did not run, such as where clang is missing for the compiled kernels.
    """
    work, findings = WORK / target.name / "corpus", WORK / target.name / "findings"
    work.mkdir(parents=True, exist_ok=True)
    findings.mkdir(exist_ok=True)
    before = set(findings.iterdir())
    options = [
        *(f"-max_total_time={max(1, round(minutes * 60))}", f"-seed={seed}", f"-max_len={target.most_bytes}"),
        *(f"-timeout={SECONDS_PER_INPUT}", f"-rss_limit_mb={MEBIBYTES}", f"-artifact_prefix={findings}/"),
        *([f"-dict={_dictionary(target)}"] if target.words else []),
        *map(str, (work, target.corpus)),
    ]
    log, begin = WORK / target.name / "log", time.monotonic()
    with log.open("w") as said:
        command = [sys.executable, "-m", "tests.fuzzing.fuzzer", target.name, *options]
        done = subprocess.run(command, cwd=ROOT, env=_environment(target), stdout=said, stderr=said, check=False)
    text = log.read_text(errors="replace")
    found = sorted(set(findings.iterdir()) - before)
    if found or done.returncode:
        sys.stderr.write(text[-8000:])
    progress = _PROGRESS.findall(text)
    if not progress or (done.returncode and not found):
        raise RuntimeError(f"the fuzzer ended with status {done.returncode}; it says more in {log}")
    ended = _DONE.search(text)
    executions, coverage, features = map(int, progress[-1])
    return Outcome(
        target=target.name,
        executions=int(ended[1]) if ended else executions,
        seconds=float(ended[2]) if ended else time.monotonic() - begin,
        coverage=coverage,
        features=features,
        findings=found,
    )


def _dictionary(target: Target) -> Path:
    """Write the words of a target as libFuzzer reads them."""
    path = WORK / target.name / "words"
    path.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
    return path


def _escaped(word: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word.encode("latin-1"))


def _environment(target: Target) -> Mapping[str, str]:
    python = python_with("atheris", REQUIREMENTS)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = python.parent.parent / "lib" / version / "site-packages"
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    if not target.is_native:
        return environment
    clang = next((name for name in CLANG if shutil.which(name)), None)
    if clang is None:
        raise RuntimeError("the compiled kernels are fuzzed as clang compiles them; install clang and its compiler-rt")
    folder = sanitized.built((clang, "-fsanitize=fuzzer-no-link"))
    runtime = packages / "asan_with_fuzzer.so"
    return {**environment, **sanitized.OPTIONS, sanitized.LIBRARIES: str(folder), "LD_PRELOAD": str(runtime)}
