"""Files are written whole or not at all."""

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pruning_client.checkpoints.atomic_file import replacing
from tests.client.tiny_files import written

WRITER = """
import sys, time
from pruning_client.checkpoints.atomic_file import replacing
with replacing(sys.argv[1]) as file:
    file.write(b"new")
    print("written", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=["without a name", "with a name"], autouse=True)
def temporary_file(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to write: a platform whose files can lack a name, and one whose files cannot."""
    if request.param == "with a name":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)


def test_file_is_there_once_the_block_ends_well(tmp_path: Path) -> None:
    with replacing(tmp_path / "out") as file:
        file.write(b"new")
        file.write(memoryview(b"er"))
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out").read_bytes() == b"newer"
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def fail_while_writing(target: Path, error: type[BaseException]) -> None:
    with replacing(target) as file:
        file.write(b"new")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_on_failure_the_old_file_stays_and_the_new_is_gone(tmp_path: Path, error: type[BaseException]) -> None:
    target = written(tmp_path / "out", b"old")
    with pytest.raises(error):
        fail_while_writing(target, error)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_mode_of_the_old_file_is_kept(tmp_path: Path) -> None:
    target = written(tmp_path / "out", b"old")
    target.chmod(0o640)
    with replacing(target) as file:
        file.write(b"new")
    assert target.stat().st_mode & 0o777 == 0o640


def test_link_is_followed(tmp_path: Path) -> None:
    target = written(tmp_path / "out", b"old")
    (tmp_path / "link").symlink_to(target)
    with replacing(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert target.read_bytes() == b"new"


def test_folder_that_cannot_be_synced_takes_its_file_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def refuse_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):  # as some file systems do; others forbid to open one
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    with replacing(tmp_path / "out") as file:
        file.write(b"new")
    assert (tmp_path / "out").read_bytes() == b"new"


@pytest.mark.parametrize("target", ["/dev/null", "/"], ids=["device", "folder"])
def test_what_is_no_file_is_never_replaced(target: str) -> None:
    with pytest.raises(OSError, match="not a regular file"), replacing(target):
        pass


def test_folder_that_is_not_there_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "none" / "out"):
        pass
    assert caught.value.filename == str(tmp_path / "none")


def test_name_may_be_as_long_as_names_may_be(tmp_path: Path) -> None:
    target = tmp_path / ("剪" * 84)  # 252 bytes of the 255 that a file system allows
    with replacing(target) as file:
        file.write(b"new")
    assert target.read_bytes() == b"new"


def test_mode_of_a_new_file_is_that_of_any_new_file(tmp_path: Path) -> None:
    with replacing(tmp_path / "out"):
        pass
    assert (tmp_path / "out").stat().st_mode == written(tmp_path / "other", b"").stat().st_mode


@pytest.mark.parametrize("limit", [4, 2**20], ids=["bytes", "megabytes"])
def test_disk_that_is_full_is_told_with_the_target(tmp_path: Path, limit: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(OSError, match="File too large") as caught, replacing(tmp_path / "out") as file:
            file.write(bytes(2 * limit))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)
    assert caught.value.filename == str(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="files of this platform always have a name")
def test_writer_that_is_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.kill()
    assert list(tmp_path.iterdir()) == []


def test_set_uid_and_set_gid_of_the_old_file_are_not_kept(tmp_path: Path) -> None:
    target = written(tmp_path / "out", b"old")
    target.chmod(0o6755)
    with replacing(target) as file:
        file.write(b"new")
    assert stat.S_IMODE(target.stat().st_mode) == 0o755
