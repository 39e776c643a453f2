"""What of a downloaded folder reaches a result: no file from outside of it, and no set-uid or set-gid."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pruning_client.errors import CheckpointError
from pruning_client.huggingface.copied_folder import check_links, copy_folder
from tests.client.tiny_files import F32, checkpoint, floats, written

PRUNE = str(Path(sys.executable).with_name("prune"))
WEIGHTS = checkpoint({"a.weight": (F32, (2, 2), floats(1, 2, 3, 4))})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model's folder, beside a file that its reader keeps private."""
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    written(tmp_path / "private.key", b"private")
    written(folder / "config.json", b"{}")
    written(folder / "model.safetensors", WEIGHTS)
    return folder


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """A folder in the layout of Hugging Face's cache, with one file and its blob."""
    folder = tmp_path / "models--org--name" / "snapshots" / "1f2e"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "models--org--name" / "blobs").mkdir()
    written(tmp_path / "models--org--name" / "blobs" / "hash", b"{}")
    (folder / "config.json").symlink_to("../../blobs/hash")
    return folder


def copied(folder: Path) -> Path:
    check_links(folder)
    copy_folder(folder, folder.with_name("copy"), lambda _: False)
    return folder.with_name("copy")


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("tokenizer.json", "../private.key"),
        ("sub/notes.txt", "../../private.key"),
        ("sub/deep", "../.."),
        ("everything", "/"),
        ("missing.txt", "../none"),
        ("pytorch_model.bin", "../private.key"),
        ("sub/self", "."),
        ("sub/above", ".."),
        ("sub/git", "../.git"),
        ("blob.txt", "../../blobs/hash"),
    ],
)
def test_link_that_leaves_the_folder_is_refused_by_name(model: Path, name: str, target: str) -> None:
    (model / name).symlink_to(target)
    with pytest.raises(CheckpointError, match=f"{model / name}: is a link to '{target}'"):
        check_links(model)


def test_link_to_a_link_that_leaves_is_refused(model: Path) -> None:
    (model / ".prune-1.part").symlink_to("../private.key")
    (model / "b.txt").symlink_to(".prune-1.part")
    with pytest.raises(CheckpointError, match=r"b\.txt: is a link"):
        check_links(model)


def test_links_to_folders_that_multiply_are_refused(model: Path) -> None:
    (model / "second").mkdir()
    (model / "sub" / "to-second").symlink_to("../second")
    (model / "to-sub").symlink_to("sub")
    with pytest.raises(CheckpointError, match="again and again"):
        check_links(model)


def test_links_within_the_folder_become_files(model: Path) -> None:
    (model / "sub" / "same.json").symlink_to("../config.json")
    (model / "linked").symlink_to("sub")
    result = copied(model)
    assert (result / "linked" / "same.json").read_bytes() == b"{}"
    assert not any(path.is_symlink() for path in result.rglob("*"))


def test_links_into_the_blobs_of_a_cache_are_followed(snapshot: Path) -> None:
    (snapshot / "sub" / "config.json").symlink_to("../../../blobs/hash")
    assert (copied(snapshot) / "sub" / "config.json").read_bytes() == b"{}"
    check_links(snapshot / "sub")


def test_folder_that_is_given_as_a_link_is_read(snapshot: Path, tmp_path: Path) -> None:
    (tmp_path / "model").symlink_to(snapshot)
    check_links(tmp_path / "model")


@pytest.mark.parametrize("target", ["../../../private", "../../blobs/sub/private", "../../blobs", "../../refs/main"])
def test_other_links_of_a_cache_are_refused(snapshot: Path, target: str) -> None:
    written(snapshot.parents[2] / "private", b"private")
    (snapshot / "file").symlink_to(target)
    with pytest.raises(CheckpointError, match="file: is a link"):
        check_links(snapshot)


def test_blobs_that_are_a_link_themselves_are_refused(snapshot: Path, tmp_path: Path) -> None:
    (snapshot.parents[1] / "blobs").rename(tmp_path / "elsewhere")
    (snapshot.parents[1] / "blobs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="leaves the folder"):
        check_links(snapshot)


def test_no_set_uid_or_set_gid_is_copied(model: Path) -> None:
    (model / "config.json").chmod(0o6755)
    (model / "sub").chmod(0o2555)
    result = copied(model)
    assert (result / "config.json").stat().st_mode & 0o7777 == 0o755
    assert (result / "sub").stat().st_mode & 0o7777 == 0o755


def test_pipe_is_not_copied(model: Path) -> None:
    os.mkfifo(model / "pipe")
    with pytest.raises(OSError, match="pipe"):
        copied(model)


def test_command_refuses_the_link_and_leaves_nothing(model: Path) -> None:
    (model / "vocab.txt").symlink_to("../private.key")
    command = [PRUNE, "run", "model", "-o", "out", "--method", "l1_unstructured", "--amount", "0.5"]
    done = subprocess.run(command, cwd=model.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "vocab.txt: is a link to '../private.key', which leaves the folder" in done.stderr
    assert sorted(path.name for path in model.parent.iterdir()) == ["model", "private.key"]
