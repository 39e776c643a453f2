"""A page as HTML: all in one file, escaped, small, with the sums of the whole model."""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from pruning_client.models.magnitudes import magnitudes
from pruning_client.pages.content import PageContent, TensorFacts
from pruning_client.pages.kinds import Place, kind_of, place_of
from pruning_client.pages.page import page_html

MARKUP = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    '"><b onclick="alert(1)',
    "]]><!--",
    "\u202ex",
)


class Seen(HTMLParser):
    """The elements of a page, their attributes, and the text of each script and table cell."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.policy = ""
        self._is_script = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")
        if dict(attrs).get("http-equiv") == "Content-Security-Policy":
            self.policy = str(dict(attrs)["content"])
        self._is_script = tag == "script"

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 - the parser's
        self._is_script = False

    def handle_data(self, data: str) -> None:
        if self._is_script:
            self.scripts[-1] += data


def content(tensors: Sequence[TensorFacts], **fields: Any) -> PageContent:
    total = sum(tensor.entries for tensor in tensors)
    known: dict[str, Any] = {"title": "a model", "has_before": True, "total_before": total, "total_after": total}
    return PageContent(**known | fields, tensors=tensors)


def tensor(name: str, **fields: Any) -> TensorFacts:
    known: dict[str, Any] = {"name": name, "dtype": "F32", "shape": (4, 8), "zeros": 8, "zeros_before": 0}
    return TensorFacts(**known | fields)


def data_of(page: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Seen(page).scripts[0])
    return found


@pytest.mark.parametrize("text", MARKUP)
def test_no_text_of_others_is_markup(text: str) -> None:
    clean = Seen(page_html(page_with("plain")))
    seen = Seen(page_html(page_with(text)))
    assert [tag for tag, _ in seen.elements] == [tag for tag, _ in clean.elements]
    assert not any(name.startswith("on") for _, attributes in seen.elements for name in attributes)
    assert seen.scripts[1:] == clean.scripts[1:]


def page_with(text: str) -> PageContent:
    """A page where everything that comes from others is this text."""
    one = tensor(text, dtype=text, is_selected=False, why_not=text)
    return content(
        [one, tensor("w", is_selected=True)],
        title=text,
        facts=[(text, text)],
        warnings=[(text, text)],
        recipe=[text],
        recipe_json=text,
        removed=[(text, 4, 2)],
        notes=[text],
    )


def test_letters_that_change_the_direction_are_escaped() -> None:
    assert "\u202e" not in page_html(page_with("\u202ex"))


def test_policy_allows_just_the_scripts_of_the_page() -> None:
    seen = Seen(page_html(content([tensor("w")])))
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in seen.scripts[1:]]
    assert re.findall(r"'sha256-([^']+)'", seen.policy) == digests
    assert seen.policy.startswith("default-src 'none'; script-src 'sha256-")


def test_nothing_is_loaded() -> None:
    seen = Seen(page_html(content([tensor("w")])))
    links = [value for _, attributes in seen.elements for name, value in attributes.items() if name in ("src", "href")]
    assert links == ["data:,"]


def test_page_of_a_thousand_tensors_is_small() -> None:
    values = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    curve = magnitudes("F32", [values.view(np.uint8).data])
    names = [f"model.language_model.layers.{n}.mlp.experts.{e}.down_proj.weight" for n in range(40) for e in range(25)]
    tensors = [tensor(name, before=curve, after=curve, threshold=0.5, is_selected=True) for name in names]
    assert len(page_html(content(tensors)).encode()) < 2_000_000


def test_largest_of_very_many_tensors_are_listed() -> None:
    page = page_html(content([tensor(f"w{n}", shape=(n + 1,)) for n in range(2100)]))
    assert "Of 2,100 tensors the 2,000 largest are listed" in page
    assert len(data_of(page)["tensors"]) == 2000
    assert data_of(page)["tensors"][0]["name"] == "w100"


def test_sums_are_of_the_whole_model() -> None:
    page = page_html(content([tensor("layers.0.mlp.up_proj.weight"), tensor("lm_head.weight", zeros=0)]))
    text = re.sub(r"<[^>]+>", " ", page[page.index("<tfoot>") : page.index("</tfoot>")]).split()
    assert text == ["whole", "model", "2", "64", "256", "B", "0.00%", "12.50%"]


def test_removed_tensors_count_before_only() -> None:
    page = page_html(content([tensor("a"), tensor("b", is_removed=True, zeros=None)], total_after=32))
    assert "<dd>64 → 32</dd>" in page
    assert "<dt>zeros</dt><dd>0.00% → 25.00%</dd>" in page
    assert "<dt>tensors</dt><dd>2 → 1</dd>" in page


def test_tensors_that_are_new_count_after_only() -> None:
    page = page_html(content([tensor("a"), tensor("b", entries_before=0, zeros_before=None)], total_before=32))
    assert "<dt>tensors</dt><dd>1 → 2</dd>" in page


def test_tensors_of_one_model_are_counted_once() -> None:
    page = page_html(content([tensor("a"), tensor("b", shape=(0,))], has_before=False))
    assert "<dt>tensors</dt><dd>2</dd>" in page


def test_sums_show_what_was_removed() -> None:
    tensors = [tensor("a", entries_before=96, zeros_before=48), tensor("b", is_removed=True, zeros=None)]
    page = page_html(content(tensors, total_before=128, total_after=32))
    heads = re.findall(r"<button type=.button.>([^<]+)", page)[:8]
    assert heads[2:] == ["parameters before", "parameters", "bytes before", "bytes", "zeros before", "zeros"]
    text = re.sub(r"<[^>]+>", "|", page[page.index("<tfoot>") : page.index("</tfoot>")])
    expected = ["whole model", "2 → 1", "128", "32", "512 B", "128 B", "37.50%", "25.00%"]
    assert [part for part in text.split("|") if part] == expected


def test_heat_map_has_a_cell_for_each_place() -> None:
    tensors = [tensor(f"h.{n}.experts.{e}.w.weight", zeros=8 * n) for n in range(2) for e in range(3)]
    data = data_of(page_html(content([*tensors, tensor("h.0.norm.weight", shape=(4,)), tensor("head.weight")])))
    assert data["rows"] == ["h.N.experts.*.w.weight", "head.weight"]
    assert data["cells"] == [[0, 0, 0.0, 96, 3], [0, 1, 0.25, 96, 3], [1, None, 0.25, 32, 1]]


def test_distribution_is_in_parts_of_all_entries() -> None:
    curve = magnitudes("F32", [np.array([0, 0, 1, 1.2, 1.25, 2], np.float32).view(np.uint8).data])
    (found,) = data_of(page_html(content([tensor("w", after=curve)])))["tensors"]
    assert found["after"] == [0, 3333, 1667, 0, 0, 1667]  # from 1, 1.25, 1.5, 1.75 and 2


def test_reasons_of_what_is_not_selected_are_summed() -> None:
    others = [tensor(f"n{n}", is_selected=False, why_not="a norm, by its name") for n in range(3)]
    page = page_html(content([tensor("w", is_selected=True), *others]))
    section = page[page.index('id="why-not"') :]
    assert re.findall(r"<t[hd][^>]*>([^<]+)", section)[:5] == ["a norm, by its name", "3", "96", "75.00%", "n0"]


def test_warnings_of_a_kind_beyond_a_few_are_folded() -> None:
    page = page_html(content([tensor("w")], warnings=[("empty", f"w{n}") for n in range(9)] + [("other", "x")]))
    assert "Warnings (10)" in page
    assert "<summary>4 more like these</summary>" in page


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("model.embed_tokens.weight", "embedding"),
        ("embeddings.LayerNorm.weight", "norm"),
        ("model.layers.3.input_layernorm.weight", "norm"),
        ("model.layers.3.self_attn.o_proj.weight", "attention"),
        ("encoder.layer.0.attention.output.dense.weight", "attention"),
        ("encoder.layer.0.output.dense.weight", "feed-forward"),
        ("model.layers.3.mlp.down_proj.weight", "feed-forward"),
        ("model.layers.3.mlp.experts.7.w1.weight", "experts"),
        ("model.layers.3.mlp.gate.weight", "router"),
        ("lm_head.weight", "output head"),
        ("conv1.weight", "convolution"),
        ("encoder.layer.0.attention.self.query.bias", "bias"),
        ("w", "other"),
    ],
)
def test_kinds_go_by_names(name: str, kind: str) -> None:
    assert kind_of(name, (4,) if name.endswith("bias") else (4, 4)) == kind


def test_places_are_rows_and_depths() -> None:
    assert place_of("model.layers.12.mlp.experts.3.w1.weight") == Place("model.layers.N.mlp.experts.*.w1.weight", 12)
    assert place_of("lm_head.weight") == Place("lm_head.weight", None)
