"""Files are written whole or not at all."""

from pathlib import Path

import pytest

from pruning_client.atomic import replacing
from tests.client.checkpoints import written


def test_file_is_there_once_the_block_ends_well(tmp_path: Path) -> None:
    with replacing(tmp_path / "out") as file:
        file.write(b"new")
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out").read_bytes() == b"new"
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


@pytest.mark.parametrize("target", ["/dev/null", "/"], ids=["device", "folder"])
def test_what_is_no_file_is_never_replaced(target: str) -> None:
    with pytest.raises(OSError, match="not a regular file"), replacing(target):
        pass


def test_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "none" / "out"):
        pass
