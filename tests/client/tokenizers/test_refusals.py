"""Tokenizers that cannot be trimmed are refused by name, and nothing is written."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pruning_client.errors import MismatchError
from pruning_client.tokenizers import choose_tokens
from tests.client.tokenizers.trained import saved


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        (
            {"model": {"type": "Lattice", "vocab": {}}},
            "has a model of type 'Lattice'; BPE, Unigram",
        ),
        ({"model": {"type": "BPE", "vocab": [], "merges": []}}, "vocabulary of its BPE model is not readable"),
        ({"model": {"type": "BPE", "vocab": {}, "merges": [], "dropout": 0.1}}, "set dropout to null"),
        ({"post_processor": {"type": "Marker"}}, "has a post-processor of type 'Marker'"),
        ({"post_processor": {"type": "Sequence", "processors": [{"type": "Marker"}]}}, "of type 'Marker'"),
        ({"model": None}, "is not a file of the `tokenizers` library"),
    ],
)
def test_what_is_not_known_is_refused(changed: Mapping[str, Any], wrong: str, tmp_path: Path) -> None:
    source = saved("word_piece", tmp_path)
    source.write_text(json.dumps(json.loads(source.read_text()) | changed))
    with pytest.raises(MismatchError, match=wrong):
        choose_tokens(source)


@pytest.mark.parametrize("name", ["spiece.model", "tokenizer.model", "qwen.tiktoken", "tekken.json"])
def test_a_folder_with_another_format_only_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\n\x0e\n\x05<unk>")
    with pytest.raises(MismatchError, match=rf"has no tokenizer\.json, and {name} cannot be trimmed; save it as"):
        choose_tokens(tmp_path)


def test_a_file_that_is_not_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(MismatchError, match=r"tokenizer\.json: is not JSON"):
        choose_tokens(tmp_path)


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    source = saved("word_piece", tmp_path)
    (tmp_path / "latin.txt").write_bytes("Größe".encode("latin-1"))
    with pytest.raises(MismatchError, match=r"latin\.txt: is not UTF-8 text"):
        choose_tokens(source, [tmp_path / "latin.txt"])
