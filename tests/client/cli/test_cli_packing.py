"""`prune pack`, `prune unpack`, and what the other commands make of packed files, as a shell sees it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.tiny_files import F32, checkpoint, floats, written
from tests.servers import ServerProcess

L1 = ("--method", "l1_unstructured", "--amount", "0.5")
CONTENT = checkpoint(
    {"fc.weight": (F32, (40, 40), floats(*[1.0] * 100, *[0.0] * 1500)), "bias": (F32, (1,), floats(-0.0))}
)


def prune(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pruning_client", *map(str, words)], capture_output=True, text=True, check=False
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "in.safetensors", CONTENT)


@pytest.fixture
def packed(file: Path) -> Path:
    path = file.with_name("packed.safetensors")
    assert prune("pack", file, "-o", path).returncode == 0
    return path


def test_pack_tells_what_it_came_to(file: Path) -> None:
    out = file.with_name("packed.safetensors")
    done = prune("pack", file, "-o", out)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "1 of 2 tensors packed",
        f"1.3 kB packed, 6.5 kB dense: {out.stat().st_size / len(CONTENT):.2%}",
        "-0.0 stays in 1 entry; --canonical-zero makes it +0.0, which takes one bit",
        f"wrote {out}",
    ]


def test_pack_answers_programs(file: Path) -> None:
    out = file.with_name("packed.safetensors")
    answer = json.loads(prune("pack", file, "-o", out, "--canonical-zero", "--json").stdout)
    assert answer == {
        "tensors": 2,
        "packed": 1,
        "dense_bytes": len(CONTENT),
        "packed_bytes": out.stat().st_size,
        "negative_zeros": 1,
        "ratio": out.stat().st_size / len(CONTENT),
        "out": str(out),
    }


def test_unpack_gives_back_what_was_packed(packed: Path) -> None:
    assert prune("unpack", packed, "-o", packed).returncode == 0
    assert packed.read_bytes() == CONTENT


def test_inspect_shows_what_was_packed(packed: Path) -> None:
    lines = prune("inspect", packed).stdout.splitlines()
    assert lines[2].split("  ")[0] == "fc.weight"
    assert "F32, packed" in lines[2]
    assert "93.75%" in lines[2]


def test_run_prunes_a_packed_file_as_what_it_was_made_of(server: ServerProcess, file: Path, packed: Path) -> None:
    for source, out in ((file, "from-dense"), (packed, "from-packed")):
        prune("run", source, "-o", file.with_name(out), *L1, "--server", server.address)
    assert file.with_name("from-packed").read_bytes() == file.with_name("from-dense").read_bytes()


def test_run_writes_a_packed_file(server: ServerProcess, file: Path) -> None:
    out = file.with_name("out.safetensors")
    done = prune("run", file, "-o", out, *L1, "--output", "packed", "--canonical-zero", "--server", server.address)
    assert done.stdout.splitlines()[-3:] == [
        f"the result has {out.stat().st_size / 1000:.1f} kB",
        "-0.0 became +0.0 in 1 entry",
        f"wrote {out}",
    ]
    assert prune("unpack", out, "-o", out).returncode == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["pack", "packed.safetensors", "-o", "out"], "unpack it first, with `prune unpack` [PACKED_INPUT]"),
        (["apply", "packed.safetensors", "in.safetensors", "-o", "out"], "unpack it first, with `prune unpack`"),
        (["unpack", "in.safetensors", "-o", "out"], "was it written by `prune pack`? [INVALID_PACKED]"),
        (["pack", "missing", "-o", "out"], "missing: No such file or directory"),
        (["pack", "in.safetensors"], "the following arguments are required: -o"),
        (["run", "in.safetensors", "-o", "out", *L1, "--canonical-zero"], "--canonical-zero is for --output packed"),
        (["run", "in.safetensors", "-o", "out", *L1, "--zstd"], "--zstd is for --output packed"),
        (["run", "in.safetensors", *L1, "--output", "packed", "--zstd", "--plan"], "--zstd is for --output packed"),
    ],
    ids=[
        "packed already",
        "masks for a packed file",
        "not packed",
        "not there",
        "no target",
        "another form",
        "zstd of another",
        "plan",
    ],
)
def test_invalid_values_are_refused(packed: Path, words: list[str], says: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pruning_client", *words], capture_output=True, text=True, check=False, cwd=packed.parent
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert not packed.with_name("out").exists()
