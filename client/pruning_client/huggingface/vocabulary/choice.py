"""The tokens that a folder needs: those of texts, and those that its config files name."""

from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from pruning_client.huggingface.config_fields import CONFIG
from pruning_client.huggingface.vocabulary.folder_files import GENERATION
from pruning_client.huggingface.vocabulary.token_ids import special_ids
from pruning_client.huggingface.vocabulary.tokenizer_files import named_ids, read_object
from pruning_client.tokenizers import TokenChoice, choose_tokens


def choose_folder_tokens(
    folder: str | PathLike[str], texts: Iterable[str | PathLike[str]] = (), *, keep: Iterable[int] = ()
) -> TokenChoice:
    """Return the ids that texts need, and those that a model's folder names, so that both can be cut to them.

    As `tokenizers.choose_tokens`, and the special tokens of config.json, generation_config.json and
    tokenizer_config.json.
    Raises: as `tokenizers.choose_tokens`.
    """
    path, needed = Path(folder), set(keep)
    config = read_object(path / CONFIG) or {}
    rows = next(_sizes(config), None)
    if rows is not None:
        for content in (config, read_object(path / GENERATION) or {}):
            needed |= special_ids(content, rows)
    return choose_tokens(path, texts, keep=needed | named_ids(path))


def _sizes(config: Mapping[str, Any]) -> Iterator[int]:
    """Return the sizes of vocabularies in a config, the outermost first."""
    if isinstance(config.get("vocab_size"), int):
        yield config["vocab_size"]
    for value in config.values():
        if isinstance(value, dict):
            yield from _sizes(value)
