"""Which tokens a text needs: a list of ids to keep."""

from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from pruning_client.tokenizers.parsing import read_tokenizer
from pruning_client.tokenizers.verification import loaded, paragraphs


@dataclass(frozen=True, slots=True)
class TokenChoice:
    """Ids to keep, ascending. `occurring`: how many of them occur in the text. `tokens`: of how many in all."""

    ids: tuple[int, ...]
    occurring: int
    tokens: int


def choose_tokens(
    source: str | PathLike[str],
    texts: Iterable[str | PathLike[str]] = (),
    *,
    keep: Iterable[int] = (),
) -> TokenChoice:
    """Return the ids that texts need, so that the tokenizer can be trimmed to them.

    `source` is a tokenizer file, or the folder that it is in; `texts` are files in UTF-8. What is chosen: the tokens
    that occur, those of `keep`, special tokens, and what these need: single bytes, the unknown token, and for BPE the
    tokens from which others are merged.
    Raises: OSError. MismatchError for a tokenizer that cannot be trimmed, or a text that is not UTF-8. ImportError.
    """
    tokenizer = read_tokenizer(source)
    library, occurring = loaded(tokenizer.path.read_text("utf-8")), set[int]()
    for text in texts:
        for _, piece in paragraphs(Path(text)):
            occurring.update(library.encode(piece).ids)
    special = {token["id"] for token in tokenizer.added if token.get("special")}
    chosen = occurring | special | set(keep)
    needed = {need.id for need in tokenizer.needs(frozenset(chosen))}
    return TokenChoice(tuple(sorted(chosen | needed)), len(occurring), len(tokenizer.tokens))
