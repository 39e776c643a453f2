"""The config.json of a model whose vocabulary was cut."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pruning_client.errors import MismatchError
from pruning_client.huggingface.config_fields import CONFIG
from pruning_client.huggingface.vocabulary.token_ids import renumbered, sizes
from pruning_client.results.report import GroupReport
from pruning_client.tokenizers import KeptIds
from pruning_proto.counted import counted

VOCABULARY: Final = "vocabulary"
"""The map."""

_UNPADDED: Final = "unpadded_vocab_size"
"""How many rows are tokens where the embeddings have more: the others are not part of the logits."""

_OFFSET: Final = "vocab_offset"
"""Where ids of images and sounds begin, in models that count them on after those of text."""


def kept_ids(group: GroupReport) -> KeptIds:
    """Return the ids that are kept of a vocabulary."""
    return KeptIds(tuple(group.kept), group.units)


def with_vocabulary(config: Mapping[str, Any], group: GroupReport) -> dict[str, Any]:
    """Return a config with the new size of the vocabulary, and the new ids of the tokens that it names.

    Raises: MismatchError if no field counts the rows, or a token that the config names is removed.
    """
    kept = kept_ids(group)
    places = list(sizes(config, kept.rows))
    if not places:
        found = "no vocab_size" if config.get("vocab_size") is None else f"vocab_size {config['vocab_size']:,}"
        raise MismatchError(
            f"{CONFIG} has {found}, and {group.name!r} has {counted(kept.rows, 'row')}, so it does not describe "
            f"what is left; "
            f"correct {CONFIG} first, or prune the safetensors file and load it with "
            "`pruning_client.torch.load_pruned`",
            metadata={"field": "vocab_size", "tensor": group.name},
        )
    changed: dict[str, Any] = renumbered(json.loads(json.dumps(config)), kept, CONFIG)
    for place in places:
        _part(changed, place)[place[-1]] = len(kept.kept)
    for part in _parts(changed):
        if part.get(_OFFSET):
            raise MismatchError(
                f"{CONFIG} has {_OFFSET} {part[_OFFSET]:,}: the ids of images or sounds follow those of text, and the "
                "model computes with where they begin; its vocabulary cannot be cut",
                metadata={"field": _OFFSET},
            )
        if isinstance(part.get(_UNPADDED), int):
            part[_UNPADDED] = sum(number < part[_UNPADDED] for number in kept.kept)
    return changed


def _part(content: dict[str, Any], place: tuple[str, ...]) -> dict[str, Any]:
    for key in place[:-1]:
        content = content[key]
    return content


def _parts(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield content
    for value in content.values():
        if isinstance(value, dict):
            yield from _parts(value)
