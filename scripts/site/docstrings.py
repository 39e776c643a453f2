"""An extension of griffe, which reads our sources for the site: docstrings become Markdown.

It runs in the site's environment, where neither the project nor what it needs is installed.
"""

import griffe

from scripts.site.labels import as_markdown


class Labels(griffe.Extension):  # type: ignore[misc] # griffe is not installed beside mypy
    """Rewrites each docstring that is read."""

    def on_object(self, *, obj: griffe.Object, **_others: object) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)
