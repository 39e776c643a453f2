"""A tokenizer file with fewer tokens, checked before it is written."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Final

from pruning_client.checkpoints.atomic_file import replacing
from pruning_client.errors import MismatchError
from pruning_client.tokenizers.kept_ids import KeptIds
from pruning_client.tokenizers.parsing import FILE, Tokenizer, read_tokenizer
from pruning_client.tokenizers.post_processors import renumbered
from pruning_client.tokenizers.verification import check_ids, check_text
from pruning_proto.counted import counted_that

_MOST_LISTED: Final = 5


@dataclass(frozen=True, slots=True)
class TrimmedTokenizer:
    """What was trimmed: tokens before and after, and how many tokens of the text were encoded the same."""

    tokens_before: int
    tokens_after: int
    tokens_verified: int


def trim_tokenizer(
    source: str | PathLike[str],
    target: str | PathLike[str],
    kept: Iterable[int] | KeptIds,
    *,
    text: str | PathLike[str] | None = None,
) -> TrimmedTokenizer:
    """Write a tokenizer file with the kept ids only, numbered from 0 in their order.

    `source` and `target` are files, or folders with a `tokenizer.json`; they may be the same. `kept` lists the ids;
    `KeptIds` also says how many rows the embedding has, if these are more than the tokenizer has tokens. `text` is a
    file in UTF-8 on which the encoding is verified: the ids of each paragraph are the new ones of those before.
    Raises: MismatchError naming the tokens that must be kept as well, the part of the file that cannot be trimmed, or
    the first line of the text that is encoded differently. RecipeError for ids outside of the vocabulary. OSError.
    ImportError if `tokenizers` is not installed.
    Cost: a second or two for 100,000 tokens, and encoding the text twice.
    """
    old = read_tokenizer(source)
    ids = kept if isinstance(kept, KeptIds) else KeptIds.of(kept, 1 + max(old.tokens, default=0))
    check_needs(old, ids)
    content = trimmed_content(old, ids)
    written = json.dumps(content, ensure_ascii=False, indent=2)
    check_ids(old, written, ids)
    verified = check_text(old, written, ids, Path(text)) if text is not None else 0
    path = Path(target)
    with replacing(path / FILE if path.is_dir() else path) as file:
        file.write(written.encode())
    after = sum(ids.new_id(number) is not None for number in old.tokens)
    return TrimmedTokenizer(len(old.tokens), after, verified)


def check_needs(tokenizer: Tokenizer, kept: KeptIds) -> None:
    """Refuse ids without which kept tokens are not encoded as before. Raises: MismatchError."""
    missing = {need.id: need.why for need in tokenizer.needs(frozenset(kept.kept)) if kept.new_id(need.id) is None}
    if missing:
        tokens = tokenizer.tokens
        named = [f"{tokens.get(at, '')!r} (id {at}) {why}" for at, why in list(missing.items())[:_MOST_LISTED]]
        more = f"; and {len(missing) - _MOST_LISTED:,} more" if len(missing) > _MOST_LISTED else ""
        raise MismatchError(
            f"{tokenizer.path}: {counted_that(len(missing), 'token')} missing among those that are kept: "
            f"{'; '.join(named)}"
            f"{more}; keep these, too: `prune tokens --keep FILE` completes a list of ids",
            metadata={"file": str(tokenizer.path)},
        )


def trimmed_content(tokenizer: Tokenizer, kept: KeptIds) -> dict[str, Any]:
    """Return the content of the file with the kept ids only. Call `check_needs` first."""

    def needed_id(number: int) -> int:
        new = kept.new_id(number)
        return number if new is None else new  # only of what `needs` leaves out: ids that no token has

    content: dict[str, Any] = {**tokenizer.content, "model": tokenizer.model.trimmed(kept)}
    content["added_tokens"] = [
        {**token, "id": new} for token in tokenizer.added if (new := kept.new_id(token["id"])) is not None
    ]
    if tokenizer.content.get("post_processor") is not None:
        content["post_processor"] = renumbered(tokenizer.content["post_processor"], needed_id)
    padding: Mapping[str, Any] | None = tokenizer.content.get("padding")
    if padding:
        content["padding"] = {**padding, "pad_id": needed_id(padding["pad_id"])}
    return content
