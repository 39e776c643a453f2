"""Links on the way to a file that is written: one's own are followed, those that others put into /tmp are not."""

import os
from pathlib import Path

import pytest

from pruning_client.checkpoints.atomic_file import replacing
from pruning_client.checkpoints.followed_links import followed
from tests.client.tiny_files import written

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a link of another user")


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder like /tmp."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


def test_path_is_that_of_realpath(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "one").symlink_to("a/b")
    (tmp_path / "a" / "two").symlink_to(tmp_path / "one" / ".." / "b" / "new")
    monkeypatch.chdir(tmp_path / "a")
    for path in ("two", "../one/../two", "b/none/../new", "./b", tmp_path / "one" / "x"):
        assert followed(path) == Path(os.path.realpath(path))


def test_links_that_do_not_end_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        followed(tmp_path / "a")


@needs_root
@pytest.mark.parametrize("name", ["link", "folder/file"], ids=["file", "folder"])
def test_link_of_another_user_in_a_shared_folder_is_refused(shared: Path, tmp_path: Path, name: str) -> None:
    target = written(tmp_path / "file", b"old")
    link = shared / Path(name).parts[0]
    link.symlink_to(target if name == "link" else tmp_path)
    os.lchown(link, NOBODY, NOBODY)
    with pytest.raises(PermissionError, match="link of another user") as caught, replacing(shared / name):
        pass
    assert caught.value.filename == str(link)
    assert target.read_bytes() == b"old"


@needs_root
def test_links_of_oneself_and_of_the_folders_owner_are_followed(shared: Path, tmp_path: Path) -> None:
    (shared / "own").symlink_to(tmp_path / "file")
    (shared / "owners").symlink_to(tmp_path / "file")
    os.chown(shared, NOBODY, NOBODY)
    os.lchown(shared / "owners", NOBODY, NOBODY)
    assert followed(shared / "own") == followed(shared / "owners") == tmp_path / "file"


@needs_root
def test_link_of_another_user_in_a_folder_of_ones_own_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.lchown(tmp_path / "link", NOBODY, NOBODY)
    assert followed(tmp_path / "link") == tmp_path / "file"
