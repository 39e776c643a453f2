"""The documentation site in Chromium: it is built strictly, asks for nothing, passes axe-core, and its search finds."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from scripts.site.build import build
from tests.pages.browser import seen_by

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]  # the first time, packages are installed

PAGES = [
    "index.html",
    "tasks/fewer_experts.html",
    "reference/pruning_client.html",
    "reference/contract.html",
]
LOOKS = [f"{page} {look}" for page in PAGES for look in ("wide", "dark", "phone")]
QUERY = "keep_experts"


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and writes no log."""

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site, built without a warning."""
    return build(tmp_path_factory.mktemp("site")).parent


@pytest.fixture(scope="module")
def found(site: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Chromium shows of some pages, opened from the disk."""
    return seen_by("site.js", tmp_path_factory.mktemp("shots"), QUERY, f"{site.as_uri()}/", *PAGES)


@pytest.mark.parametrize("look", LOOKS)
def test_page_logs_nothing_and_asks_only_the_site(found: dict[str, Any], site: Path, look: str) -> None:
    seen = found["looks"][look]
    assert seen["logged"] == []
    assert [url for url in seen["requested"] if not url.startswith(f"{site.as_uri()}/")] == []


@pytest.mark.parametrize("look", LOOKS)
def test_page_passes_axe_and_fits(found: dict[str, Any], look: str) -> None:
    seen = found["looks"][look]
    assert seen["violations"] == []
    assert seen["overflow"] <= 0


def test_search_finds(found: dict[str, Any]) -> None:
    assert any("keep_experts" in title for title in found["search"]["titles"])
    assert found["search"]["logged"] == []


def test_site_works_from_a_server(site: Path, tmp_path: Path) -> None:
    with served(site) as address:
        found = seen_by("site.js", tmp_path, QUERY, address, "index.html")
    assert any("keep_experts" in title for title in found["search"]["titles"])
    seen = [found["search"], *found["looks"].values()]
    assert [line for each in seen for line in each["logged"]] == []
    assert [url for each in seen for url in each["requested"] if not url.startswith(address)] == []


def test_every_public_name_has_its_place(site: Path) -> None:
    page = (site / "reference" / "pruning_client.html").read_text(encoding="utf-8")
    assert 'id="pruning_client.Client.prune"' in page
    assert 'id="pruning_client.pack_file"' in page
