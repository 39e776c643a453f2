"""The HTML report in Chromium: it renders, sorts, logs nothing, asks for nothing, and passes axe-core."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.pages.browser import looked_at

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]  # the first time, packages are installed

LAYER = "model.layers.{}.{}.weight"
HOSTILE = ("<img src=x onerror=alert(1)>.weight", "</script><script>alert(1)</script>", '"onmouseover="alert(1)')
"""Harmless markup: if any of it were taken for HTML, a dialog would open."""

LOOKS = ["light", "dark", "phone", "print"]


def model() -> dict[str, np.ndarray[Any, Any]]:
    """Return a decoder of twelve layers, with names that are markup."""
    chance = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]]
    shapes = {LAYER.format(n, part): (32, 32) for n in range(12) for part in ("self_attn.q_proj", "mlp.up_proj")}
    shapes |= {LAYER.format(n, "input_layernorm"): (32,) for n in range(12)}
    shapes |= {"model.embed_tokens.weight": (100, 32), **dict.fromkeys(HOSTILE, (8, 8))}
    return {name: chance.standard_normal(shape, np.float32) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Chromium shows of the page of a run."""
    folder = tmp_path_factory.mktemp("page")
    save_file(model(), folder / "in.safetensors")
    rule = ["--method", "l1_unstructured", "--amount", "0.6", "--global"]
    words = ["run", "in.safetensors", "-o", "out.safetensors", "--html", "page.html", *rule]
    command = [sys.executable, "-m", "pruning_client", *words]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return looked_at(folder / "page.html", folder)


@pytest.mark.parametrize("look", LOOKS)
def test_page_logs_nothing_and_asks_for_nothing(found: dict[str, Any], look: str) -> None:
    seen = found["looks"][look]
    assert (seen["logged"], seen["dialogs"]) == ([], 0)
    assert [url.rpartition("/")[2] for url in seen["requested"]] == ["page.html"]


@pytest.mark.parametrize("look", LOOKS)
def test_page_passes_axe(found: dict[str, Any], look: str) -> None:
    assert found["looks"][look]["violations"] == []


@pytest.mark.parametrize("look", LOOKS)
def test_charts_are_drawn(found: dict[str, Any], look: str) -> None:
    seen = found["looks"][look]
    charts = {chart.split(" of ")[0] for chart in seen["charts"]}
    assert charts == {"Zeros", "Distribution"}
    assert seen["drawn"] > 12 * 2


@pytest.mark.parametrize("look", LOOKS)
def test_labels_are_whole_and_apart(found: dict[str, Any], look: str) -> None:
    seen = found["looks"][look]
    assert (seen["cut"], seen["crowded"]) == ([], False)


def test_labels_of_a_narrow_distribution_are_apart(tmp_path: Path) -> None:
    """Of less than a decade; and of a heat map with names of wide letters."""
    weight = np.random.default_rng(0).uniform(0.02, 0.15, (64, 64)).astype(np.float32)
    save_file({"embeddings.mmmmmmmmmmmm.weight": weight}, tmp_path / "in.safetensors")
    page = tmp_path / "page.html"
    command = [sys.executable, "-m", "pruning_client", "report", str(tmp_path / "in.safetensors"), "-o", str(page)]
    subprocess.run(command, check=True, capture_output=True)
    looks = looked_at(page, tmp_path)["looks"]
    assert {look: (looks[look]["cut"], looks[look]["crowded"]) for look in LOOKS} == dict.fromkeys(LOOKS, ([], False))


@pytest.mark.parametrize("look", LOOKS)
def test_names_are_text(found: dict[str, Any], look: str) -> None:
    seen = found["looks"][look]
    assert (seen["scripts"], seen["images"]) == (4, 0)


def test_page_is_no_wider_than_a_phone(found: dict[str, Any]) -> None:
    assert found["looks"]["phone"]["overflow"] <= 0


def test_looks_differ_in_their_colours(found: dict[str, Any]) -> None:
    backgrounds = {look: found["looks"][look]["background"] for look in LOOKS}
    assert backgrounds["light"] == backgrounds["print"] == "rgb(255, 255, 255)"
    assert backgrounds["dark"] != backgrounds["light"]


def test_tables_sort(found: dict[str, Any]) -> None:
    sorted_by = found["used"]["sorted"]
    assert sorted_by["largest"] == {"first": "model.embed_tokens.weight", "order": "descending"}
    assert sorted_by["smallest"] == {"first": LAYER.format(0, "input_layernorm"), "order": "ascending"}
    assert sorted_by["named"]["order"] == "ascending"


def test_filter_shows_the_tensors_of_a_layer(found: dict[str, Any]) -> None:
    filtered = found["used"]["filtered"]
    assert len(filtered["names"]) == 3
    assert filtered["count"].startswith("3 of ")


def test_distribution_of_any_tensor_can_be_chosen(found: dict[str, Any]) -> None:
    curve = found["used"]["curve"]
    assert curve["label"] == f"Distribution of the absolute values of {curve['chosen']}"
    assert "Line: before. Filled: after." in curve["text"]
