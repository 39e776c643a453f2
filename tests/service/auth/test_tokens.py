"""The file of tokens: whom it lets in, what it refuses, and that it is read again."""

import ast
import hashlib
import inspect
import logging
import os
from pathlib import Path

import pytest

from pruning_service.auth import tokens
from pruning_service.auth.tokens import Tokens
from pruning_service.local_settings import SettingsError
from tests.service.raw import wait_until
from tests.service.secured import TOKEN, token_file

DIGEST = hashlib.sha256(TOKEN.encode()).hexdigest()
OTHER = "fedcba9876543210-other"


@pytest.mark.parametrize(
    "line", [f"ci:{TOKEN}", f"ci:sha256:{DIGEST}", f"ci:sha256:{DIGEST.upper()}", f"  ci:{TOKEN}  "]
)
def test_token_is_known_by_itself_or_its_digest(line: str, tmp_path: Path) -> None:
    known = Tokens(token_file(tmp_path, line))
    assert known.name_of(TOKEN) == "ci"
    assert known.name_of(OTHER) is None


@pytest.mark.parametrize(
    ("line", "mode", "is_told"),
    [
        pytest.param(f"ci:{TOKEN}", 0o644, True, id="token for everybody"),
        pytest.param(f"ci:{TOKEN}", 0o640, False, id="token for the group"),
        pytest.param(f"ci:sha256:{DIGEST}", 0o644, False, id="digest for everybody"),
    ],
)
def test_token_that_everybody_on_the_machine_can_read_is_told(
    line: str, mode: int, is_told: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = token_file(tmp_path, line)
    file.chmod(mode)
    Tokens(file)
    assert any(f"file={file} can be read by everybody" in message for message in caplog.messages) is is_told


def test_every_line_is_compared_in_constant_time() -> None:
    (loop,) = (node for node in ast.walk(ast.parse(inspect.getsource(tokens))) if _compares(node))
    assert "hmac.compare_digest(" in ast.unparse(loop)
    assert not [node for node in ast.walk(loop) if isinstance(node, ast.Break | ast.Return | ast.Compare)]


def _compares(node: ast.AST) -> bool:
    return isinstance(node, ast.For) and "self._tokens" in ast.unparse(node.iter)


def test_digest_is_no_token(tmp_path: Path) -> None:
    assert Tokens(token_file(tmp_path, f"ci:sha256:{DIGEST}")).name_of(DIGEST) is None


def test_caller_may_have_two_tokens_while_it_changes(tmp_path: Path) -> None:
    known = Tokens(token_file(tmp_path, "# old and new", f"ci:{TOKEN}", "", f"ci:{OTHER}"))
    assert known.name_of(TOKEN) == known.name_of(OTHER) == "ci"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        pytest.param([TOKEN], "line 1: it is name:TOKEN or name:sha256:HEX", id="no name"),
        pytest.param(["# ours", f"c i:{TOKEN}"], "line 2: a name is 1 to 100 letters", id="space in the name"),
        pytest.param(["ci:s3cret"], "line 1: a token is 16 characters of ASCII or more", id="short"),
        pytest.param([f"ci:{TOKEN} s3cret"], "without spaces", id="space in the token"),
        pytest.param(["ci:sha256:s3cret"], "64 hexadecimal digits", id="no digest"),
        pytest.param([f"ci:{TOKEN}", f"cd:sha256:{DIGEST}"], "ci and cd have the same token", id="same token"),
        pytest.param(["# nobody"], "holds no token: nobody could call", id="empty"),
    ],
)
def test_file_that_makes_no_sense_is_refused_by_its_line_and_not_shown(
    lines: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        Tokens(token_file(tmp_path, *lines))
    assert "PRUNING_TOKEN_FILE" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_bytes(b"ci:\xff\xfe")
    with pytest.raises(SettingsError, match="it is no text"):
        Tokens(file)


def test_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        Tokens(tmp_path / "tokens")


def test_change_counts_at_the_next_call(tmp_path: Path) -> None:
    known = Tokens(token_file(tmp_path, f"ci:{TOKEN}"))
    token_file(tmp_path, f"cd:{OTHER}")
    assert known.name_of(OTHER) == "cd"
    assert known.name_of(TOKEN) is None


def test_change_of_a_linked_folder_counts_too(tmp_path: Path) -> None:
    """As Kubernetes mounts a Secret."""
    for name, line in (("1", f"ci:{TOKEN}"), ("2", f"cd:{OTHER}")):
        (tmp_path / name).mkdir()
        token_file(tmp_path / name, line)
    (tmp_path / "data").symlink_to("1")
    known = Tokens(tmp_path / "data" / "tokens")
    (tmp_path / "new").symlink_to("2")
    (tmp_path / "new").rename(tmp_path / "data")
    assert known.name_of(OTHER) == "cd"


def test_last_token_that_is_taken_away_lets_nobody_in(tmp_path: Path) -> None:
    known = Tokens(token_file(tmp_path, f"ci:{TOKEN}"))
    token_file(tmp_path, "# nobody")
    assert known.name_of(TOKEN) is None


def test_broken_file_leaves_the_old_tokens_in_use_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = token_file(tmp_path, f"ci:{TOKEN}")
    known = Tokens(file)
    token_file(tmp_path, f"cd{OTHER}")
    assert known.name_of(TOKEN) == "ci"
    os.utime(file)  # looks changed again
    assert known.name_of(OTHER) is None
    (complaint,) = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert "those before stay in use" in complaint
    assert OTHER not in complaint


def test_file_that_is_mended_counts(tmp_path: Path) -> None:
    known = Tokens(token_file(tmp_path, f"ci:{TOKEN}"))
    (tmp_path / "tokens").unlink()
    assert known.name_of(TOKEN) == "ci"
    token_file(tmp_path, f"cd:{OTHER}")
    assert known.name_of(OTHER) == "cd"


def test_file_that_is_gone_admits_nobody_after_its_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = token_file(tmp_path)
    known = Tokens(file, missing_seconds=0.3)
    file.unlink()
    assert known.name_of(TOKEN) == "ci"
    assert known.is_stale()
    assert wait_until(lambda: known.name_of(TOKEN) is None)
    assert [message for message in caplog.messages if "nobody is admitted" in message]
    token_file(tmp_path)
    assert known.name_of(TOKEN) == "ci"
    assert not known.is_stale()


def test_file_that_cannot_be_read_keeps_its_tokens(tmp_path: Path) -> None:
    file = token_file(tmp_path)
    known = Tokens(file, missing_seconds=0)
    file.unlink()
    file.mkdir()
    assert known.name_of(TOKEN) == "ci"
    assert known.is_stale()
