"""The model type that a folder's `config.json` states, from which the server knows how weights are stored."""

import json
from os import PathLike
from pathlib import Path
from typing import Final

_CONFIG: Final = "config.json"


def model_type_beside(path: str | PathLike[str]) -> str:
    """Return the `model_type` in the config.json beside a file; empty if there is none. Raises: OSError."""
    config = Path(path).with_name(_CONFIG)
    if not config.is_file():
        return ""
    try:
        content = json.loads(config.read_bytes())
    except ValueError:  # who needs it says what is wrong with it
        return ""
    value = content.get("model_type") if isinstance(content, dict) else None
    return value if isinstance(value, str) else ""
