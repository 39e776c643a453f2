"""The documentation site, `make docs`: the pages of `docs`, and references that are generated.

    build       collects all pages in one folder, and makes the site of them
    pages       where each document of the repository is in the site, with links that lead there
    python      a page for each public module: its names are those of `__all__`
    docstrings  what the site's generator makes of our docstrings; runs in its environment
    labels      the labels of docstrings (Raises:, Shape:, ...) as Markdown
    contract    the services, messages and enums of the .proto, from its descriptors

All pages are plain Markdown before the generator reads them, and `mkdocs.yml` has no plugin beside the theme's own and
mkdocstrings, so that another generator can take its place.
"""
