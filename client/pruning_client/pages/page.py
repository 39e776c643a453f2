"""A page as one HTML file. All text of others is escaped, in HTML and in the JSON that the script reads.

The file's own policy (CSP) allows the scripts that are in it, by their digests, and nothing else: no other script runs,
and nothing is loaded, whatever a tensor is called. Tables are in the HTML; the script sorts them and draws.
"""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from html import escape
from importlib.resources import files
from typing import Final

from pruning_client.models.printable import printable
from pruning_client.pages.content import PageContent, TensorFacts
from pruning_client.pages.payload import payload, script_json
from pruning_client.pages.sections import facts_html, kinds_html, recipe_html, removed_html, warnings_html
from pruning_client.pages.tables import tensors_html, why_not_html
from pruning_client.pages.words import bytes_words, change_words, percent_words

_MOST_TENSORS: Final = 2000
"""That are listed: the largest."""

_SCRIPTS: Final = ("d3.min.js", "plot.umd.min.js", "page.js")


def page_html(content: PageContent) -> str:
    """Return the page."""
    shown = _largest(content.tensors)
    scripts = [_asset(name) for name in _SCRIPTS]
    body = "\n".join(part for part in _parts(content, shown) if part)
    data = script_json(payload(shown, content.tensors))
    title = _text(content.title)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_policy(scripts)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="pruning-service">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
{_asset("page.css")}</style>
</head>
<body>
<header>
<h1>{title}</h1>
{_tiles(content)}
</header>
<main>
{body}
</main>
<script type="application/json" id="data">{data}</script>
{"".join(f"<script>{script}</script>" for script in scripts)}
</body>
</html>
"""


def _parts(content: PageContent, shown: Sequence[TensorFacts]) -> list[str]:
    has_curves = any(tensor.before or tensor.after for tensor in shown)
    has_errors = any(tensor.predicted_error is not None for tensor in shown)
    notes = [*content.notes]
    if len(shown) < len(content.tensors):
        notes.append(
            f"Of {len(content.tensors):,} tensors the {len(shown):,} largest are listed; sums and the map are of all."
        )
    return [
        "".join(f'<p class="note">{_text(note)}</p>' for note in notes),
        warnings_html(content),
        kinds_html(content),
        removed_html(content),
        _MAP,
        _CURVES if has_curves else "",
        _ERRORS if has_errors else "",
        tensors_html(shown, has_before=content.has_before),
        why_not_html(content.tensors),
        recipe_html(content),
        facts_html(content),
    ]


_MAP: Final = """<section aria-labelledby="map-title">
<h2 id="map-title">Where the zeros are</h2>
<p>The part of the entries that are zero, by kind of tensor and depth. Matrices only; experts of a layer are one cell.
Choose a cell's tensor in the table below to see its weights.</p>
<div id="map" class="chart scroll" tabindex="0" role="region" aria-label="Map of zeros, scrollable"></div>
</section>"""

_CURVES: Final = """<section aria-labelledby="curves-title">
<h2 id="curves-title">How the weights are distributed</h2>
<p><label for="tensor">Tensor</label> <select id="tensor"></select></p>
<div id="curves" class="chart"></div>
<p id="curves-text" class="note" aria-live="polite"></p>
</section>"""

_ERRORS: Final = """<section aria-labelledby="errors-title">
<h2 id="errors-title">Predicted error of each layer</h2>
<p>||(W - W') X|| / ||W X||, by the statistics that were given, in the order of the file. It compares layers and amounts
of one method; evaluate the model to know how good it is.</p>
<div id="errors" class="chart"></div>
</section>"""


def _tiles(content: PageContent) -> str:
    tiles = [("parameters", change_words(f"{content.total_before:,}", f"{content.total_after:,}"))]
    sizes = [bytes_words(size) for size in (content.bytes_before, content.bytes_after) if size is not None]
    if sizes:
        tiles.append(("file size", change_words(sizes[0], sizes[-1])))
    now, earlier = _percent(content.zeros), _percent(content.zeros_before)
    tiles.append(("zeros", change_words(earlier if content.has_before and content.zeros_before else now, now)))
    tiles.append(("tensors", change_words(*(f"{count:,}" for count in content.tensor_counts))))
    cells = "".join(f"<div><dt>{label}</dt><dd>{escape(value)}</dd></div>" for label, value in tiles)
    return f'<dl class="tiles">{cells}</dl>'


def _percent(count: tuple[int, int] | None) -> str:
    return "-" if count is None else percent_words(*count)


def _largest(tensors: Sequence[TensorFacts]) -> Sequence[TensorFacts]:
    if len(tensors) <= _MOST_TENSORS:
        return tensors
    positions = sorted(range(len(tensors)), key=lambda at: -tensors[at].entries)[:_MOST_TENSORS]
    return [tensors[at] for at in sorted(positions)]


def _text(text: str) -> str:
    return escape(printable(text))


def _policy(scripts: Sequence[str]) -> str:
    digests = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {digests}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def _asset(name: str) -> str:
    return (files("pruning_client.pages") / "assets" / name).read_text(encoding="utf-8")
