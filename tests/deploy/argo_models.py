"""Hold workflows against Argo's own models, as hera has them. Runs in an environment of its own: it needs only hera.

From stdin: a JSON list of documents. To stdout: a JSON list of what is wrong with each, an empty string if nothing is.
"""

import json
import sys
from typing import Any

from hera.workflows import models  # type: ignore[import-not-found]  # not where mypy runs
from pydantic import ValidationError


def complaint(document: dict[str, Any]) -> str:
    """Say what is wrong: of a wrong type, missing, or, since the models ignore it, not among Argo's fields at all."""
    try:
        model = getattr(models, document["kind"]).model_validate(document)
    except ValidationError as error:
        return str(error)
    known = model.model_dump(by_alias=True, exclude_unset=True, mode="json")
    return "; ".join(unknown(document, known))


def unknown(given: Any, known: Any, path: str = "") -> list[str]:
    """Return the paths of what was given and did not come through."""
    if isinstance(given, dict) and isinstance(known, dict):
        return [
            path_of_it
            for key, value in given.items()
            for path_of_it in (
                unknown(value, known[key], f"{path}.{key}") if key in known else [f"{path}.{key}: unknown"]
            )
        ]
    if isinstance(given, list) and isinstance(known, list):
        pairs = zip(given, known, strict=True)
        return [each for index, (a, b) in enumerate(pairs) for each in unknown(a, b, f"{path}[{index}]")]
    return [] if given == known else [f"{path}: {given!r} was taken as {known!r}"]


if __name__ == "__main__":
    json.dump([complaint(document) for document in json.load(sys.stdin)], sys.stdout)
