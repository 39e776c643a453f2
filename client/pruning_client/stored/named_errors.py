"""Errors about the copies of a model's small files in a temporary folder, as errors about where the files came from."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pruning_client.errors import PruningError


@contextmanager
def naming_uri(folder: Path, uri: object) -> Iterator[None]:
    """Have errors, inside, name what is below `uri` instead of what is below `folder`."""
    try:
        yield
    except PruningError as error:
        error.args = tuple(_named(argument, folder, uri) for argument in error.args)
        raise
    except OSError as error:
        if error.filename is not None:
            error.filename = _named(str(error.filename), folder, uri)
        raise


def _named(text: object, folder: Path, uri: object) -> object:
    return text.replace(str(folder), str(uri)) if isinstance(text, str) else text
