"""The ids in a tokenizer's post-processor, which adds tokens such as [CLS] and [SEP] to every text."""

from collections.abc import Callable, Iterator
from typing import Any, Final

POST_PROCESSORS: Final = ("TemplateProcessing", "BertProcessing", "RobertaProcessing", "ByteLevel", "Sequence")
"""The kinds whose ids are known."""

_ENDS: Final = ("sep", "cls")
"""The tokens of BertProcessing and RobertaProcessing, each with its id."""


def post_processor_ids(part: Any) -> Iterator[int]:
    """Return the ids in a post-processor."""
    seen: list[int] = []

    def unchanged(number: int) -> int:
        seen.append(number)
        return number

    renumbered(part, unchanged)
    yield from seen


def renumbered(part: Any, new_id: Callable[[int], int]) -> Any:
    """Return a post-processor with other ids."""
    if not isinstance(part, dict):
        return part
    changed = dict(part)
    if part.get("type") == "Sequence":
        changed["processors"] = [renumbered(each, new_id) for each in part["processors"]]
    elif part.get("type") == "TemplateProcessing":
        changed["special_tokens"] = {
            name: {**token, "ids": [new_id(number) for number in token["ids"]]}
            for name, token in part["special_tokens"].items()
        }
    else:
        for end in _ENDS:
            if end in part:
                token, number = part[end]
                changed[end] = [token, new_id(number)]
    return changed
