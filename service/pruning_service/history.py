"""What was asked of a file, round after round, as its `__metadata__` tells under one key.

The value is a JSON list of objects `{"recipe": <a pruning.v1.Recipe in protobuf's JSON mapping>, "version": ...}`, the
oldest first. What came of it is not there: the header leaves before it is known.
"""

import json
from collections.abc import Mapping
from typing import Final

from google.protobuf.json_format import MessageToDict

from pruning_proto.reasons import Reason
from pruning_proto.v1.pruning_pb2 import Recipe
from pruning_service.status import Refusal

KEY: Final = "pruning.v1"


def with_round(metadata: Mapping[str, str], recipe: Recipe, version: str) -> dict[str, str]:
    """Give the metadata with one more round under KEY, and every other key as it came.

    Raises: Refusal INVALID_HISTORY if what stands under KEY is no history.
    """
    rounds = _rounds(metadata.get(KEY, "[]"))
    rounds.append({"recipe": MessageToDict(recipe), "version": version})
    return {**metadata, KEY: json.dumps(rounds, ensure_ascii=False, separators=(",", ":"))}


def _rounds(text: str) -> list[object]:
    try:
        rounds = json.loads(text)
    except (ValueError, RecursionError):
        rounds = None
    if not isinstance(rounds, list):
        raise Refusal(
            reason=Reason.INVALID_HISTORY,
            message=f"the file's __metadata__ has a key {KEY!r} that is no list of rounds; remove it",
            metadata={"field": f"__metadata__.{KEY}"},
        )
    return rounds
