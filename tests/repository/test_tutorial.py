"""The tutorial runs, and its document says what its code says."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pruning_client import Client
from scripts.tutorial.__main__ import DOCUMENT, PLOT, QUOTED, run_steps
from scripts.tutorial.effort import SHORT
from scripts.tutorial.notebook import blocks, with_code, with_outputs
from tests.servers import ServerProcess

PNG = b"\x89PNG\r\n"
LARGEST_PLOT = 150_000


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Threads that wait for each other cost more than such small models gain by them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_every_step_runs_and_prints_what_the_document_shows(server: ServerProcess, tmp_path: Path) -> None:
    with Client(server.address) as client:
        outputs = run_steps(client, SHORT, tmp_path, tmp_path / "plot.png")
    shown = {name for kind, name in blocks(DOCUMENT.read_text(encoding="utf-8")) if kind == "output"}
    assert shown <= {name for name, output in outputs.items() if output.strip()}
    assert (tmp_path / "plot.png").read_bytes().startswith(PNG)


def test_document_quotes_the_code_as_it_is() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    assert with_code(document, QUOTED) == document, "run `python -m scripts.tutorial --write`"


def test_plot_is_there_and_small() -> None:
    plot = PLOT.read_bytes()
    assert plot.startswith(PNG)
    assert len(plot) < LARGEST_PLOT


def test_code_and_outputs_are_put_where_they_are_named() -> None:
    document = "a\n<!-- code: blocks -->\n```python\nold\n```\nb\n<!-- output: step -->\n```text\n```\n"
    written = with_outputs(with_code(document, {"blocks": blocks}), {"step": "printed\n"})
    assert "```python\ndef blocks(document: str)" in written
    assert "```text\nprinted\n```\n" in written
    assert "old" not in written
