"""The files beside a tokenizer.json: ids remapped, removed tokens left out, and those with a role refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pruning_client.errors import MismatchError
from pruning_client.huggingface.vocabulary.choice import choose_folder_tokens
from pruning_client.huggingface.vocabulary.tokenizer_files import leave_out_tokenizer, trim_folder
from pruning_client.tokenizers import KeptIds
from tests.client.tokenizers.trained import ids_of, saved

transformers = pytest.importorskip("transformers", reason="transformers, which reads these files, is not installed")


def written(folder: Path, **files: Any) -> None:
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))


def read(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    saved("word_piece", folder)
    written(folder, tokenizer_config={"tokenizer_class": "BertTokenizer", "sep_token": "[SEP]"})
    return folder


def trimmed(source: Path, *kept: int) -> Path:
    """Copy a folder and trim the copy to these ids and those that it needs."""
    target = source.with_name("target")
    shutil.copytree(source, target)
    rows = len(read(source / "tokenizer.json")["model"]["vocab"])
    trim_folder(source, target, KeptIds.of(choose_folder_tokens(source, keep=kept).ids, rows))
    return target


def test_ids_of_added_tokens_are_remapped(source: Path) -> None:
    decoder = {"3": {"content": "[SEP]"}, "20": {"content": "x"}, "30": {"content": "y"}}
    written(source, tokenizer_config={"added_tokens_decoder": decoder}, added_tokens={"x": 20, "y": 30})
    target = trimmed(source, 30)
    new = {"3": {"content": "[SEP]"}, "4": {"content": "y"}}
    assert read(target / "tokenizer_config.json")["added_tokens_decoder"] == new
    assert read(target / "added_tokens.json") == {"y": 4}


def test_vocabulary_files_of_other_runtimes_are_written_anew(source: Path) -> None:
    ids = read(source / "tokenizer.json")["model"]["vocab"]
    (source / "vocab.txt").write_text("".join(f"{token}\n" for token in sorted(ids, key=ids.__getitem__)))
    target = trimmed(source, 20)
    expected = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", sorted(ids, key=ids.__getitem__)[20]]
    assert (target / "vocab.txt").read_text().split() == expected


def test_vocabulary_files_of_another_tokenizer_are_removed(source: Path) -> None:
    (source / "vocab.txt").write_text("other\n")
    (source / "spiece.model").write_bytes(b"\n")
    target = trimmed(source)
    assert sorted(path.name for path in target.iterdir()) == ["tokenizer.json", "tokenizer_config.json"]


def test_vocabulary_and_merges_are_written_anew(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    model = read(saved("byte_level_bpe", folder))["model"]
    written(folder, vocab=model["vocab"])
    (folder / "merges.txt").write_text("#version: 0.2\n")
    target = trimmed(folder, 300)
    assert read(target / "vocab.json") == read(target / "tokenizer.json")["model"]["vocab"]
    merges = [" ".join(merge) for merge in read(target / "tokenizer.json")["model"]["merges"]]
    assert (target / "merges.txt").read_text().splitlines()[1:] == merges


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        ({"mask_token": "cat"}, r"tokenizer_config\.json: mask_token is 'cat' \(id \d+\), which is removed"),
        ({"mask_token": {"content": "cat"}}, "mask_token is 'cat'"),
        ({"extra_special_tokens": {"image_token": "cat"}}, r"extra_special_tokens\.image_token is 'cat'"),
    ],
)
def test_removed_token_with_a_role_is_refused(source: Path, content: dict[str, Any], wrong: str) -> None:
    written(source, tokenizer_config=content)
    with pytest.raises(MismatchError, match=wrong):
        trim_folder(source, source, KeptIds.of([0, 1, 2, 3], 160))


def test_tokens_with_a_role_and_of_configs_are_chosen(source: Path) -> None:
    (word,) = ids_of(source / "tokenizer.json", "cat")[1:-1]
    written(source, tokenizer_config={"mask_token": "cat"}, config={"vocab_size": 160, "eos_token_id": 50})
    written(source, generation_config={"pad_token_id": 51})
    assert choose_folder_tokens(source).ids == (0, 1, 2, 3, *sorted({50, 51, word}))


def test_transformers_reads_the_trimmed_tokenizer(source: Path) -> None:
    text = "the cat sat on the mat"
    before = transformers.AutoTokenizer.from_pretrained(source)(text)["input_ids"]
    kept = choose_folder_tokens(source, keep=before).ids
    after = transformers.AutoTokenizer.from_pretrained(trimmed(source, *before))
    assert after(text)["input_ids"] == [kept.index(number) for number in before]
    assert after.convert_ids_to_tokens(range(4)) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def test_transformers_adds_special_tokens_that_are_missing(source: Path) -> None:
    written(source, tokenizer_config={"tokenizer_class": "BertTokenizer", "mask_token": "[MASK]"})
    found = transformers.AutoTokenizer.from_pretrained(source)
    assert found.mask_token_id >= len(read(source / "tokenizer.json")["model"]["vocab"])  # why they are refused


def test_without_a_trim_nothing_has_the_old_ids(source: Path) -> None:
    (source / "vocab.txt").write_text("")
    (source / "chat_template.jinja").write_text("")
    assert leave_out_tokenizer(source) == ("tokenizer.json", "tokenizer_config.json", "vocab.txt")
    assert [path.name for path in source.iterdir()] == ["chat_template.jinja"]
