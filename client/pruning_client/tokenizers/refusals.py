"""Refusals of tokenizers: which file and which part of it cannot be trimmed, and what to do instead."""

from os import PathLike
from typing import Final, NoReturn

from pruning_client.errors import MismatchError

_INSTEAD: Final = (
    "save it as a tokenizer.json of the `tokenizers` library first, or cut the vocabulary without --tokenizer and make "
    "the tokenizer yourself"
)


def refuse_tokenizer(path: str | PathLike[str], text: str) -> NoReturn:
    """Refuse a tokenizer that cannot be trimmed. Raises: MismatchError."""
    raise MismatchError(f"{path}: {text}; {_INSTEAD}", metadata={"file": str(path)})
