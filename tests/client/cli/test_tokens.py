"""`prune tokens`: the ids that a text needs."""

import json
from pathlib import Path

import pytest

from pruning_client.cli import main
from pruning_client.errors import RecipeError
from pruning_client.tokenizers import choose_tokens
from pruning_client.tokenizers.id_lists import ids_in
from tests.client.tokenizers.trained import saved, text_file


def test_ids_of_a_text_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, text = saved("word_piece", tmp_path), text_file(tmp_path, "the cat")
    assert main.run(["tokens", str(tmp_path), "--text", str(text)]) == 0
    assert tuple(ids_in(capsys.readouterr().out)) == choose_tokens(source, [text]).ids


def test_a_list_is_completed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = saved("word_piece", tmp_path), tmp_path / "ids.txt"
    assert main.run(["tokens", str(source), "--keep", "20-22,30", "-o", str(out)]) == 0
    assert out.read_text() == "0-3,20-22,30\n"
    assert capsys.readouterr().out.startswith("8 of 1")


def test_programs_get_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["tokens", str(saved("word_level", tmp_path)), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ids"] == [0]


@pytest.mark.parametrize("text", ["1,2-4", "1\n2-4\n", "1 2\t3,4"])
def test_ids_are_separated_by_commas_or_space(text: str, tmp_path: Path) -> None:
    path = tmp_path / "ids.txt"
    path.write_text(text)
    assert ids_in(str(path)) == ids_in(text) == [1, 2, 3, 4]


@pytest.mark.parametrize("text", ["4-2", "1-2-3", "1--2", "0-99999999999"])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="token ids are numbers and ranges"):
        ids_in(text)
