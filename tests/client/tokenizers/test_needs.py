"""Tokens that must be kept, because text of the others would be encoded differently without them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pruning_client.errors import MismatchError
from pruning_client.tokenizers import choose_tokens, trim_tokenizer
from tests.client.tokenizers.trained import KINDS, ids_of, saved


def written(folder: Path, model: Mapping[str, Any], **parts: object) -> Path:
    """Write a tokenizer file with this model."""
    nothing = dict.fromkeys(("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"))
    content: dict[str, object] = {"version": "1.0", "added_tokens": [], "model": model, **nothing}
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(content | parts))
    return path


def bpe(vocabulary: str, *merges: str, **fields: object) -> dict[str, Any]:
    tokens = {token: at for at, token in enumerate(vocabulary.split())}
    return {"type": "BPE", "vocab": tokens, "merges": [merge.split() for merge in merges], **fields}


def test_a_merged_token_needs_all_it_is_merged_from(tmp_path: Path) -> None:
    source = written(tmp_path, bpe("a b c d ab abc cd", "a b", "ab c", "c d"))
    assert choose_tokens(source, keep=[5]).ids == (0, 1, 2, 4, 5)


def test_the_way_that_the_merges_take_is_the_one_needed(tmp_path: Path) -> None:
    source = written(tmp_path, bpe("a b c ab bc abc", "b c", "a bc", "a b", "ab c"))
    assert choose_tokens(source, keep=[5]).ids == (0, 1, 2, 4, 5)


def test_merges_in_the_old_form_are_read(tmp_path: Path) -> None:
    source = written(tmp_path, {**bpe("a b ab"), "merges": ["a b"]})
    trim_tokenizer(source, source, choose_tokens(source, keep=[2]).ids)
    assert json.loads(source.read_text())["model"]["merges"] == ["a b"]


def test_merges_without_their_parts_are_removed(tmp_path: Path) -> None:
    source = written(tmp_path, bpe("a b c ab cb", "a b", "c b"))
    trim_tokenizer(source, source, [0, 1, 3])
    assert json.loads(source.read_text())["model"]["merges"] == [["a", "b"]]


def test_missing_parts_are_refused_by_name(tmp_path: Path) -> None:
    source = written(tmp_path, bpe("a b c ab abc", "a b", "ab c"))
    wrong = r"1 token is missing .*: 'ab' \(id 3\) is a part from which 'abc' \(id 4\) is merged; keep these, too"
    with pytest.raises(MismatchError, match=wrong):
        trim_tokenizer(source, source, [0, 1, 2, 4])


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("byte_level_bpe", "is a single byte"),
        ("byte_fallback_bpe", "is the unknown token"),
        ("unigram", "has the least score"),
        ("word_piece", "is added to every text by the post-processor"),
        ("word_level", "is the unknown token"),
    ],
)
def test_what_every_text_needs_is_refused_by_name(kind: str, why: str, tmp_path: Path) -> None:
    source = saved(kind, tmp_path)
    with pytest.raises(MismatchError, match=why):
        trim_tokenizer(source, source, [20])


def test_padding_is_needed(tmp_path: Path) -> None:
    source = saved("unigram", tmp_path)
    ids = [number for number in choose_tokens(source).ids if number]
    with pytest.raises(MismatchError, match=r"'<pad>' \(id 0\) is the padding"):
        trim_tokenizer(source, source, ids)


def test_special_tokens_are_chosen_and_reserved_ones_may_go(tmp_path: Path) -> None:
    source = saved("byte_fallback_bpe", tmp_path)
    chosen = choose_tokens(source).ids
    assert len(chosen) == 3 + 256 + 2
    trim_tokenizer(source, source, chosen[:-1])
    added = [each["content"] for each in json.loads(source.read_text())["added_tokens"]]
    assert "<|user|>" in added
    assert "<|reserved|>" not in added


def test_the_token_of_least_score_keeps_unknown_characters_dear(tmp_path: Path) -> None:
    vocabulary = [["<unk>", 0], ["ab", -20], ["cd", -20], ["a", -3], ["bc", -4], ["d", -45]]
    model = {"type": "Unigram", "unk_id": 0, "byte_fallback": False, "vocab": vocabulary}
    source = written(tmp_path, model)
    assert ids_of(source, "abcd") == [1, 2]
    assert choose_tokens(source, keep=[1, 2, 3, 4]).ids == (0, 1, 2, 3, 4, 5)
    model["vocab"] = vocabulary[:-1]
    assert ids_of(written(tmp_path, model), "abcd") == [3, 4, 0]  # what would be computed without it


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_chosen_is_complete(kind: str, tmp_path: Path) -> None:
    source = saved(kind, tmp_path)
    chosen = choose_tokens(source, keep=range(0, 100, 7)).ids
    assert choose_tokens(source, keep=chosen).ids == chosen
