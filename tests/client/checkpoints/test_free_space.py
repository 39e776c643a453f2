"""A result that does not fit on the disk is refused before the model is read."""

import errno
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from pruning_client.checkpoints.free_space import check_free_space
from tests.servers import ServerProcess

MIB = 1 << 20
TABLE_BYTES = 64 * MIB


def test_result_that_fits_is_not_refused(tmp_path: Path) -> None:
    check_free_space(tmp_path / "out", 1)


def test_result_larger_than_the_disk_is_refused_with_both_sizes(tmp_path: Path) -> None:
    needed = shutil.disk_usage(tmp_path).total + 1
    with pytest.raises(OSError, match=f"needs {needed:,} bytes, and this disk has .* free") as caught:
        check_free_space(tmp_path / "out", needed)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path))


def test_unfinished_folder_is_not_named(tmp_path: Path) -> None:
    (tmp_path / ".prune-1.part").mkdir()
    with pytest.raises(OSError, match="free some") as caught:
        check_free_space(tmp_path / ".prune-1.part" / "model.safetensors", 2**62)
    assert caught.value.filename == str(tmp_path)


@pytest.fixture
def huge(tmp_path: Path) -> Path:
    """A model larger than the disk, in a file with holes: a small weight to prune, and tables that stay."""
    count = shutil.disk_usage(tmp_path).free // TABLE_BYTES + 2
    header: dict[str, object] = {"fc.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}
    for index in range(count):
        begin = 16 + index * TABLE_BYTES
        entry = {"dtype": "U8", "shape": [TABLE_BYTES], "data_offsets": [begin, begin + TABLE_BYTES]}
        header[f"table{index}"] = entry
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path = tmp_path / "huge.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + 16 + count * TABLE_BYTES)
    return path


WRITE_LITTLE = ("sh", "-c", f'ulimit -f {64 * MIB // 512} && exec "$@"', "sh")
"""If the check fails, the disk is not filled. sh counts blocks of 512 bytes."""


@pytest.mark.parametrize("has_server", [True, False], ids=["server", "one process"])
def test_large_model_is_not_sent(server: ServerProcess, huge: Path, has_server: bool) -> None:
    out = huge.with_name("out")
    words = ["run", str(huge), "-o", str(out), "--method", "l1_unstructured", "--amount", "0.5", "--json"]
    words += ["--server", server.address] if has_server else []
    done = subprocess.run(
        [*WRITE_LITTLE, sys.executable, "-m", "pruning_client", *words],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert "free some, or write to another disk" in json.loads(done.stderr)["error"]["message"]
    assert os.listdir(huge.parent) == [huge.name]  # noqa: PTH208 - names
