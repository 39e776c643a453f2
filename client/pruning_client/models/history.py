"""What was done to a model, as its file's metadata has it."""

import json
from collections.abc import Mapping
from typing import Any

from pruning_client.recipes.method_form import method_forms
from pruning_proto.names import HISTORY_KEY


def history_of(metadata: Mapping[str, str]) -> tuple[Mapping[str, Any], ...]:
    """Return the rounds in a file's metadata; none if they are not what this service writes."""
    try:
        rounds = json.loads(metadata.get(HISTORY_KEY, "[]"))
        return tuple({"recipe": method_forms(each["recipe"]), "version": str(each["version"])} for each in rounds)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return ()
