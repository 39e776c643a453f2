"""Trimmed tokenizers encode text of kept tokens as before, under new ids."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pruning_client.errors import MismatchError, RecipeError
from pruning_client.tokenizers import KeptIds, choose_tokens, trim_tokenizer
from tests.client.tokenizers.trained import KINDS, SENTENCES, ids_of, saved, text_file

KIND = pytest.mark.parametrize("kind", KINDS)


@KIND
def test_text_keeps_its_tokens_under_new_ids(kind: str, tmp_path: Path) -> None:
    source, text = saved(kind, tmp_path), text_file(tmp_path, SENTENCES[0])
    chosen = choose_tokens(source, [text])
    trimmed = trim_tokenizer(source, small := tmp_path / "small.json", chosen.ids, text=text)
    assert trimmed.tokens_after == len(chosen.ids) < trimmed.tokens_before
    assert ids_of(small, SENTENCES[0]) == [chosen.ids.index(each) for each in ids_of(source, SENTENCES[0])]


@KIND
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.sampled_from(" ".join(SENTENCES).split()), max_size=12), data=st.data())
def test_any_text_of_kept_tokens_keeps_them(kind: str, words: list[str], data: st.DataObject, tmp_path: Path) -> None:
    source, text = tmp_path / "tokenizer.json", " ".join(words)
    if not source.exists():
        saved(kind, tmp_path)
    size = len(json.loads(source.read_text())["model"]["vocab"])
    keep = data.draw(st.sets(st.integers(0, size - 1), max_size=60))
    chosen = choose_tokens(source, keep=keep | set(ids_of(source, text)))
    trim_tokenizer(source, small := tmp_path / "small.json", chosen.ids)
    assert ids_of(small, text) == [chosen.ids.index(each) for each in ids_of(source, text)]


@KIND
def test_all_ids_kept_change_nothing(kind: str, tmp_path: Path) -> None:
    source = saved(kind, tmp_path)
    everything = choose_tokens(source, keep=range(choose_tokens(source).tokens)).ids
    trim_tokenizer(source, small := tmp_path / "small.json", everything)
    assert json.loads(small.read_text()) == json.loads(source.read_text())


def test_folders_are_trimmed_in_place(tmp_path: Path) -> None:
    saved("word_piece", tmp_path)
    trim_tokenizer(tmp_path, tmp_path, choose_tokens(tmp_path).ids)
    assert list(json.loads((tmp_path / "tokenizer.json").read_text())["model"]["vocab"]) == [
        *("[PAD]", "[UNK]", "[CLS]", "[SEP]")
    ]


def test_ids_after_the_last_row_move_down(tmp_path: Path) -> None:
    source = saved("byte_fallback_bpe", tmp_path)
    content = json.loads(source.read_text())
    rows = len(content["model"]["vocab"])  # the two added tokens have no row
    kept = [number for number in choose_tokens(source).ids if number < rows]
    trim_tokenizer(source, small := tmp_path / "small.json", KeptIds.of(kept, rows))
    assert [each["id"] for each in json.loads(small.read_text())["added_tokens"]][-2:] == [len(kept), len(kept) + 1]


def test_text_with_a_removed_token_is_refused_by_line(tmp_path: Path) -> None:
    source = saved("word_level", tmp_path)
    few = choose_tokens(source, [text_file(tmp_path, "the cat the mat")]).ids
    text = text_file(tmp_path, "the cat", "the mat", "", "the weather")
    with pytest.raises(MismatchError, match=r"text\.txt, line 4: .* 'weather' \(id \d+\) occurs, which is removed"):
        trim_tokenizer(source, small := tmp_path / "small.json", few, text=text)
    assert not small.exists()


def test_ids_outside_the_vocabulary_are_refused(tmp_path: Path) -> None:
    source = saved("word_level", tmp_path)
    with pytest.raises(RecipeError, match=r"token id 5,000 is kept, but the vocabulary has the ids 0 to \d+"):
        trim_tokenizer(source, source, [0, 5000])


def test_ids_without_a_token_before_others_are_refused(tmp_path: Path) -> None:
    source = saved("word_level", tmp_path)
    content = json.loads(source.read_text())
    size = len(content["model"]["vocab"])
    content["model"]["vocab"]["last"] = size + 3
    content["added_tokens"].append({**content["added_tokens"][0], "id": size + 1, "content": "<new>"})  # as it is read
    source.write_text(json.dumps(content))
    with pytest.raises(MismatchError, match="ids without a token are kept before it"):
        trim_tokenizer(source, source, [0, size + 1, size + 2, size + 3])
