"""Files as they are sent: read in pieces, and refused before anything is sent if they are not sound."""

import os
from itertools import islice
from pathlib import Path

import pytest

from pruning_client.checkpoints.file import FileSource
from pruning_client.errors import CheckpointError
from pruning_proto.limits import CHUNK_BYTES
from pruning_proto.reasons import Reason
from tests.client.tiny_files import checkpoint, weight, written

SOUND = weight(1, 2, 3, 4)


def test_header_and_pieces_are_the_file(tmp_path: Path) -> None:
    source = FileSource(written(tmp_path / "in", SOUND))
    assert source.header + b"".join(map(bytes, source.pieces())) == SOUND


def test_large_file_comes_in_pieces_and_again(tmp_path: Path) -> None:
    content = bytes(range(256)) * (2 * CHUNK_BYTES // 256) + b"end"
    source = FileSource(written(tmp_path / "in", checkpoint({"x": ("U8", (len(content),), content)})))
    assert [len(piece) for piece in source.pieces()] == [CHUNK_BYTES, CHUNK_BYTES, 3]
    assert b"".join(map(bytes, source.pieces())) == content


def test_file_without_tensors_has_no_pieces(tmp_path: Path) -> None:
    assert list(FileSource(written(tmp_path / "in", checkpoint({}))).pieces()) == []


@pytest.mark.parametrize(
    ("content", "reason", "message"),
    [
        pytest.param(b"", Reason.TRUNCATED, "0 bytes are not a safetensors file", id="empty"),
        pytest.param(b"\x02\0\0\0\0\0\0\0", Reason.TRUNCATED, "only 0 follow", id="no header"),
        pytest.param(SOUND[:-1], Reason.TRUNCATED, r"describes 96 bytes, the file has 95", id="cut short"),
        pytest.param(SOUND + b"x", Reason.OVERLONG, "the file has 97", id="too long"),
        pytest.param(b"PK\x03\x04 zip file", Reason.INVALID_HEADER, "save_file", id="torch.save"),
        pytest.param(b"\x80\x02\x8a\nl\xfc\x9cF\xf9", Reason.INVALID_HEADER, "pickle", id="old torch.save"),
        pytest.param(b"\x80\x03}q\x00(X\x01", Reason.INVALID_HEADER, "pickle", id="pickle, protocol 3"),
        pytest.param(b"\x80\x04\x95\x08\0\0\0\0\0\0\0", Reason.INVALID_HEADER, "pickle", id="pickle, protocol 4"),
        pytest.param(b"\x80\x05\x95\x08\0\0\0\0\0\0\0", Reason.INVALID_HEADER, "pickle", id="pickle, protocol 5"),
        pytest.param(b"GGUF\x03\0\0\0aaaa", Reason.INVALID_HEADER, "is a GGUF file", id="GGUF"),
        pytest.param(b"\xff" * 9, Reason.HEADER_TOO_LARGE, "is this a safetensors file", id="another format"),
        pytest.param(b"\x02\0\0\0\0\0\0\0[]", Reason.INVALID_HEADER, "not a JSON object", id="no object"),
    ],
)
def test_file_that_is_not_sound_is_refused_by_name(
    tmp_path: Path, content: bytes, reason: Reason, message: str
) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        FileSource(written(tmp_path / "in.bin", content))
    assert caught.value.reason == reason
    assert "in.bin" in str(caught.value)


@pytest.mark.parametrize("when", [0, 1], ids=["before its first piece", "after it"])
def test_file_cut_short_while_it_is_read_is_refused(tmp_path: Path, when: int) -> None:
    path = written(tmp_path / "in", checkpoint({"x": ("U8", (2 * CHUNK_BYTES,), bytes(2 * CHUNK_BYTES))}))
    pieces = FileSource(path).pieces()
    assert len(list(islice(pieces, when))) == when
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="changed while it was read"):
        next(pieces)


def test_file_replaced_after_its_header_was_read_is_refused(tmp_path: Path) -> None:
    source = FileSource(written(tmp_path / "in", SOUND))
    written(tmp_path / "new", SOUND).replace(tmp_path / "in")
    with pytest.raises(CheckpointError, match="changed while it was read"):
        list(source.pieces())


def test_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileSource(tmp_path / "none")


@pytest.mark.parametrize("header_bytes", [0x0280, 0x0380, 0x0480, 0x0580])
def test_header_of_a_length_that_reads_as_a_pickle_is_sound(tmp_path: Path, header_bytes: int) -> None:
    empty = checkpoint({}, {"pad": ""})
    padding = "x" * (header_bytes - (len(empty) - 8))
    content = checkpoint({}, {"pad": padding})
    assert content[:3] == bytes((0x80, header_bytes >> 8, 0))
    assert FileSource(written(tmp_path / "in", content)).layout.metadata == {"pad": padding}


def test_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="is not a regular file") as caught:
        FileSource(tmp_path / "pipe")
    assert caught.value.filename == str(tmp_path / "pipe")


def test_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder"):
        FileSource(tmp_path)


def test_shard_of_a_distributed_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    source = FileSource(written(tmp_path / "in", checkpoint({}, {"DCP_SHARDING_INFO": "{}"})))
    with pytest.raises(CheckpointError, match="consolidate_safetensors_files") as caught:
        source.check_not_sharded()
    assert str(tmp_path / "in") in str(caught.value)
