"""The tokens that a folder needs: those of texts, and those that its config files name."""

from collections.abc import Iterable
from os import PathLike
from pathlib import Path

from pruning_client.huggingface.vocabulary.named_tokens import configured_ids
from pruning_client.huggingface.vocabulary.tokenizer_files import named_ids
from pruning_client.tokenizers import TokenChoice, choose_tokens


def choose_folder_tokens(
    folder: str | PathLike[str], texts: Iterable[str | PathLike[str]] = (), *, keep: Iterable[int] = ()
) -> TokenChoice:
    """Return the ids that texts need, and those that a model's folder names, so that both can be cut to them.

    As `tokenizers.choose_tokens`, and the special tokens of config.json, generation_config.json and
    tokenizer_config.json.
    Raises: as `tokenizers.choose_tokens`.
    """
    path = Path(folder)
    return choose_tokens(path, texts, keep=configured_ids(path) | named_ids(path) | set(keep))
