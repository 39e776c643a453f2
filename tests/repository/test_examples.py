"""The examples of README and docs run as they are printed, and excerpts of code are in the files that they name."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from tests.repository.examples import Example, examples_in
from tests.repository.modules import ROOT
from tests.servers import ServerProcess

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "deploy" / "pipelines" / "README.md"]
PRINTED_SERVER = "localhost:50051"
EXTENDING = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
EXCERPTS = re.findall(r"^<!-- from: (\S+) -->\n```\w+\n(.*?)^```$", EXTENDING, re.M | re.S)
ELLIPSIS = re.compile(r"^ +\.\.\.\n", re.M)
INTERPRETERS = {"python": [sys.executable, "-c"], "bash": ["bash", "-euo", "pipefail", "-c"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a small checkpoint, as torch would save it."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    safetensors.torch.save_file(model.state_dict(), tmp_path / "model.safetensors")
    return tmp_path


def try_out(example: Example, folder: Path, address: str) -> None:
    """Save or run an example with the server that it names. Raises: AssertionError with what it said if it fails."""
    if example.file is not None:
        (folder / example.file).write_text(example.code, encoding="utf-8")
        return
    done = subprocess.run(
        [*INTERPRETERS[example.language], example.code.replace(PRINTED_SERVER, address)],
        cwd=folder,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{example.code}\n{done.stdout}{done.stderr}"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))
def test_examples_run(document: Path, folder: Path, server: ServerProcess) -> None:
    for example in examples_in(document.read_text(encoding="utf-8")):
        try_out(example, folder, server.address)


def test_example_that_fails_is_seen(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no such thing"):
        try_out(Example("bash", "echo no such thing; false"), tmp_path, "")


def test_saved_example_is_there_for_the_next(tmp_path: Path) -> None:
    try_out(Example("yaml", "rules: []\n", "recipe.yaml"), tmp_path, "")
    try_out(Example("bash", "grep rules recipe.yaml"), tmp_path, "")


@pytest.mark.parametrize("language", INTERPRETERS)
def test_readme_has_examples_that_run(language: str) -> None:
    examples = examples_in((ROOT / "README.md").read_text(encoding="utf-8"))
    assert language in {example.language for example in examples}


def test_marked_blocks_are_found() -> None:
    run = "Text\n<!-- run -->\n```bash\necho a\n```\n"
    unmarked = "\n```bash\nnot this\n```\n"
    saved = "<!-- save: b.yaml -->\n```yaml\nb: 1\n```\n"
    assert examples_in(run + unmarked + saved) == [Example("bash", "echo a\n"), Example("yaml", "b: 1\n", "b.yaml")]


@pytest.mark.parametrize(
    "document",
    ["<!-- run -->\n\n```bash\na\n```\n", "<!-- run -->\n```\na\n```\n", "<!-- save: ../a -->\n```yaml\na\n```\n"],
    ids=["a line between", "a block of no language", "a name in another folder"],
)
def test_mark_that_does_nothing_is_refused(document: str) -> None:
    with pytest.raises(ValueError, match="some do not"):
        examples_in(document)


def test_every_excerpt_names_its_file() -> None:
    assert len(EXCERPTS) == len(re.findall(r"^```\w+$", EXTENDING, re.M))


@pytest.mark.parametrize(("file", "code"), EXCERPTS, ids=[file.rpartition("/")[2] for file, _ in EXCERPTS])
def test_excerpt_is_in_its_file(file: str, code: str) -> None:
    content = (ROOT / file).read_text(encoding="utf-8")
    places = [content.find(part) for part in ELLIPSIS.split(code)]
    assert -1 not in places
    assert places == sorted(places)
