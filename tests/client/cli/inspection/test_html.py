"""`--html` and `prune report`: the page of a run, and of files, written whole or not at all."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

RULE = ("--method", "l1_unstructured", "--amount", "0.5")


def prune(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pruning_client", *map(str, words)], capture_output=True, text=True, check=False
    )


def data_of(page: Path) -> dict[str, Any]:
    """What the page's script draws."""
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text("utf-8"), re.S)
    assert match is not None
    found: dict[str, Any] = json.loads(match[1])
    return found


def cells_of(page: Path, name: str) -> list[str]:
    """What the table of tensors has in the row of one."""
    row = re.search(rf'<tr><th scope="row">{name.replace(".", ".<wbr>")}</th>(.*?)</tr>', page.read_text("utf-8"))
    assert row is not None
    return [re.sub("<wbr>", "", cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row[1])]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    values = np.arange(1, 65, dtype=np.float32).reshape(8, 8) / 64
    save_file({"layers.0.fc.weight": values, "layers.0.norm.weight": np.ones(8, np.float32)}, tmp_path / "in")
    return tmp_path / "in"


def test_run_writes_a_page_of_before_and_after(file: Path, tmp_path: Path) -> None:
    done = prune("run", file, "-o", tmp_path / "out", "--html", tmp_path / "page.html", *RULE, "--digests")
    assert done.returncode == 0, done.stderr
    page = tmp_path / "page.html"
    weight, norm = data_of(page)["tensors"]
    assert weight["cut"] == 0.5
    assert sum(weight["before"][1:]) == pytest.approx(10_000, abs=30)
    assert sum(weight["after"][1:]) == pytest.approx(5_000, abs=30)
    assert "cut" not in norm
    assert cells_of(page, "layers.0.fc.weight")[4:] == ["50.00%", "0.00%", "0.5", "yes"]
    assert cells_of(page, "layers.0.norm.weight")[4:] == ["0.00%", "0.00%", "-", "fewer than 2 dims"]
    text = page.read_text("utf-8")
    assert len(re.findall(r"<dd>[0-9a-f]{64}</dd>", text)) == 2
    assert "l1_unstructured, amount 0.5 (a fraction), scope local" in text
    assert "&quot;method&quot;: &quot;l1_unstructured&quot;" in text


def test_scores_that_are_not_the_weights_draw_no_threshold(file: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert prune("run", file, "--dry-run", "--html", page, "--n-of-m", "2:4").returncode == 0
    assert not any("cut" in tensor for tensor in data_of(page)["tensors"])


def test_dry_run_has_a_page_without_a_result(file: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert prune("run", file, "--dry-run", "--html", page, *RULE).returncode == 0
    weight = data_of(page)["tensors"][0]
    assert ("after" in weight, weight["cut"]) == (False, 0.5)
    assert cells_of(page, "layers.0.fc.weight")[4] == "50.00%"


@pytest.mark.parametrize("output", ["mask", "masked", "packed"])
def test_other_outputs_have_a_page(file: Path, tmp_path: Path, output: str) -> None:
    page = tmp_path / "page.html"
    done = prune("run", file, "-o", tmp_path / "out", "--output", output, "--html", page, *RULE)
    assert done.returncode == 0, done.stderr
    assert cells_of(page, "layers.0.fc.weight")[4] == "50.00%"


def test_piped_result_has_a_page(file: Path, tmp_path: Path) -> None:
    words = ["run", str(file), "-o", "-", "--html", str(tmp_path / "page.html"), *RULE]
    done = subprocess.run([sys.executable, "-m", "pruning_client", *words], capture_output=True, check=True)
    assert done.stdout
    assert "after" in data_of(tmp_path / "page.html")["tensors"][0]


def test_report_shows_one_model(file: Path, tmp_path: Path) -> None:
    done = prune("report", file, "-o", tmp_path / "page.html")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"wrote {tmp_path / 'page.html'}, ")
    assert cells_of(tmp_path / "page.html", "layers.0.fc.weight") == ["feed-forward", "F32", "8x8", "64", "0.00%"]


def test_report_compares_two_models(file: Path, tmp_path: Path) -> None:
    assert prune("run", file, "-o", tmp_path / "out", *RULE).returncode == 0
    done = prune("report", file, tmp_path / "out", "-o", tmp_path / "page.html", "--json")
    assert json.loads(done.stdout)["bytes"] == (tmp_path / "page.html").stat().st_size
    weight = data_of(tmp_path / "page.html")["tensors"][0]
    assert {"before", "after"} <= weight.keys()
    assert cells_of(tmp_path / "page.html", "layers.0.fc.weight")[4:] == ["50.00%", "0.00%"]


def test_shapes_that_changed_and_names_that_are_gone_are_shown(tmp_path: Path) -> None:
    save_file({"a": np.ones((4, 2), np.float32), "gone": np.ones(2, np.float32)}, tmp_path / "one")
    save_file({"a": np.ones((2, 2), np.float32)}, tmp_path / "other")
    assert prune("report", tmp_path / "one", tmp_path / "other", "-o", tmp_path / "page.html").returncode == 0
    assert cells_of(tmp_path / "page.html", "a")[2:4] == ["2x2", "4"]
    assert "removed" in cells_of(tmp_path / "page.html", "gone")
    assert "<dd>10 → 4</dd>" in (tmp_path / "page.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "in", "--plan", "--html", "p.html", *RULE], "--plan prunes nothing"),
        (["run", "in", "-o", "p.html", "--html", "p.html", *RULE], "--html and -o name the same file"),
        (["run", "in", "-o", "out", "--html", "in", *RULE], "--html and IN name the same file"),
        (["run", "in", "-o", "out", "--html", "no/p.html", *RULE], "No such file or directory"),
        (["report", "in", "-o", "in"], "-o and A name the same file"),
        (["report", "in", "missing", "-o", "p.html"], "missing: No such file or directory"),
        (["report", "bad", "-o", "p.html"], "bad: "),
        (["report", "in"], "the following arguments are required: -o"),
    ],
    ids=lambda value: " ".join(value[:4]) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_refused_and_leaves_nothing(
    file: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(file.parent)
    Path("bad").write_bytes(b"neither a model nor anything else that is known")
    before = file.read_bytes()
    done = prune(*words)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert sorted(path.name for path in file.parent.iterdir()) == ["bad", "in"]
    assert file.read_bytes() == before


@pytest.fixture
def kept(file: Path, tmp_path: Path) -> Path:
    """The JSON of a run."""
    done = prune("run", file, "-o", tmp_path / "out", *RULE, "--report", tmp_path / "report.json")
    assert done.returncode == 0, done.stderr
    return tmp_path / "report.json"


def test_page_of_a_run_is_made_from_its_json(kept: Path, file: Path, tmp_path: Path) -> None:
    file.unlink()
    done = prune("report", kept, "-o", tmp_path / "page.html")
    assert done.returncode == 0, done.stderr
    page = tmp_path / "page.html"
    assert cells_of(page, "layers.0.fc.weight")[-3:] == ["0.00%", "0.5", "yes"]
    assert cells_of(page, "layers.0.norm.weight")[-1] == "fewer than 2 dims"
    text = page.read_text("utf-8")
    assert "<title>Pruning report: in</title>" in text
    assert "<dt>zeros</dt><dd>0.00% → 44.44%</dd>" in text  # 32 of 72, and not of the 64 that were counted one by one
    assert "are known in sum only" in text


def test_page_of_json_without_a_plan_says_so(kept: Path, tmp_path: Path) -> None:
    value = json.loads(kept.read_text())
    del value["plan"]
    kept.write_text(json.dumps(value))
    assert prune("report", kept, "-o", tmp_path / "page.html").returncode == 0
    assert "lists the 1 selected of 2 tensors (72 parameters)" in (tmp_path / "page.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("content", "wrong"), [("{", "is not JSON"), ('{"methods": []}', "is what `prune methods` printed")]
)
def test_other_json_is_refused(tmp_path: Path, content: str, wrong: str) -> None:
    (tmp_path / "other.json").write_text(content)
    done = prune("report", tmp_path / "other.json", "-o", tmp_path / "page.html")
    assert (done.returncode, done.stdout) == (2, "")
    assert wrong in done.stderr
    assert not (tmp_path / "page.html").exists()
