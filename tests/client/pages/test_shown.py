"""What notebooks and terminals show of values: short texts, escaped tables, frames."""

import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

from pruning_client import Client, rules
from pruning_client.pages.shown import Shown, Summary
from tests.servers import ServerProcess


class Rows(Shown):
    """A value with many rows, whose names are markup."""

    @property
    def summary(self) -> Summary:
        return Summary("<b>25 rows</b>", [{"name": f"<i>{n}</i>[red]", "value": 0.5, "none": None} for n in range(25)])


def text_of(value: Shown) -> str:
    console = Console(width=80, record=True, file=None, color_system=None)
    with console.capture() as capture:
        console.print(value)
    return capture.get()


def test_tables_are_short_and_escaped() -> None:
    html = Rows()._repr_html_()
    assert html.count("<tr>") == 21
    assert "<p>Rows: &lt;b&gt;25 rows&lt;/b&gt;</p>" in html
    assert "&lt;i&gt;0&lt;/i&gt;[red]</td>" in html
    assert "<i>" not in html
    assert "and 5 more; to_pandas() has all rows" in html


def test_rich_takes_names_for_text() -> None:
    text = text_of(Rows())
    assert "<i>19</i>[red]" in text
    assert "<i>20</i>" not in text
    assert "and 5 more" in text


def test_values_of_a_call_say_what_they_are(server: ServerProcess) -> None:
    model = {"fc.weight": np.arange(16, dtype=np.float32).reshape(4, 4), "fc.bias": np.ones(4, np.float32)}
    with Client(server.address) as client:
        result = client.prune(model, rules.l1_unstructured(0.5))
        capabilities = client.capabilities()
    assert repr(result.report).startswith("<Report: 50.00% of 16 selected weights pruned, 1 tensor")
    assert repr(result.plan).startswith("<Plan: 1 of 2 tensors selected, at most ")
    assert repr(capabilities).startswith("<Capabilities: version ")
    assert [row["tensor"] for row in result.plan.summary.rows] == ["fc.weight", "fc.bias"]
    assert result.report.summary.rows[0]["sparsity"] == 0.5
    for value in (result.report, result.plan, capabilities):
        assert value._repr_html_().startswith("<p>")
        assert text_of(value)


def test_frames_need_pandas_and_say_so() -> None:
    script = (
        "import sys\nsys.modules['pandas'] = None\n"
        "from pruning_client.pages.shown import Shown, Summary\n"
        "class Rows(Shown):\n    summary = Summary('x', [{'a': 1}])\n"
        "try:\n    Rows().to_pandas()\nexcept ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("to_pandas needs pandas: pip install pandas")


def test_frames_have_all_rows() -> None:
    pytest.importorskip("pandas", reason="pandas is the caller's, and not installed here")
    frame = Rows().to_pandas()
    assert (len(frame), list(frame.columns)) == (25, ["name", "value", "none"])
