"""Whether a trimmed tokenizer encodes as before, by asking the `tokenizers` library for both."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pruning_client.errors import MismatchError
from pruning_client.tokenizers.kept_ids import KeptIds
from pruning_client.tokenizers.parsing import Tokenizer
from pruning_client.tokenizers.refusals import refuse_tokenizer

if TYPE_CHECKING:
    import tokenizers

_MOST_CHARACTERS: Final = 100_000
"""Of one piece of text that is encoded at once."""


def loaded(content: str) -> "tokenizers.Tokenizer":
    """Return a tokenizer that neither truncates nor pads. Raises: ImportError if `tokenizers` is not installed."""
    try:
        import tokenizers  # noqa: PLC0415 - optional, and imported when used
    except ImportError as error:
        raise ImportError("trimming a tokenizer needs: pip install 'pruning-service[tokenizers]'") from error
    found = tokenizers.Tokenizer.from_str(content)
    found.no_truncation()
    found.no_padding()
    return found


def check_ids(old: Tokenizer, new: str, kept: KeptIds) -> None:
    """Refuse a file whose tokens would not get their new ids when it is read. Raises: MismatchError, ImportError.

    The library numbers added tokens itself, from the number of tokens of the model on, whatever their ids in the file.
    """
    before, after = loaded(old.path.read_text("utf-8")).get_vocab(), loaded(new).get_vocab()
    for added in old.added:
        if before[added["content"]] != added["id"]:
            refuse_tokenizer(
                old.path,
                f"its added token {added['content']!r} has the id {added['id']}, but `tokenizers` reads it as "
                f"{before[added['content']]}, because there are ids without a token before it",
            )
    for token, number in sorted(before.items(), key=lambda item: item[1]):
        expected = kept.new_id(number)
        if after.get(token) != expected:
            raise MismatchError(
                f"{old.path}: token {token!r} (id {number}) would be read with the id {after.get(token)}, and its row "
                f"is {expected}: ids without a token are kept before it; keep such ids after all tokens only",
                metadata={"file": str(old.path)},
            )


def paragraphs(text: Path) -> Iterator[tuple[int, str]]:
    """Return the paragraphs of a file with their line ends and blank lines, each with the number of its first line.

    Raises: OSError. MismatchError if it is not UTF-8.
    """
    try:
        with text.open(encoding="utf-8", newline="") as file:
            first, piece, is_ended = 1, "", False
            for number, line in enumerate(file, 1):
                is_blank = not line.strip()
                if (is_ended and not is_blank) or len(piece) > _MOST_CHARACTERS:
                    yield first, piece
                    first, piece = number, ""
                piece, is_ended = piece + line, is_blank
            if piece:
                yield first, piece
    except UnicodeDecodeError as error:
        raise MismatchError(f"{text}: is not UTF-8 text: {error}", metadata={"file": str(text)}) from error


def check_text(old: Tokenizer, new: str, kept: KeptIds, text: Path) -> int:
    """Refuse a text of which a token is removed, or that is encoded differently; return the number of its tokens.

    Raises: MismatchError that names the line. OSError, ImportError.
    """
    before, after, count = loaded(old.path.read_text("utf-8")), loaded(new), 0
    for first, piece in paragraphs(text):
        encoded, again = before.encode(piece), after.encode(piece)
        expected = [kept.new_id(number) for number in encoded.ids]
        if expected != again.ids:
            pairs = enumerate(zip(expected, again.ids, strict=False))
            place = next((at for at, (one, other) in pairs if one != other), min(len(expected), len(again.ids)))
            _refuse_line(old, encoded, again, expected, place, (text, first, piece))
        count += len(expected)
    return count


def _refuse_line(  # noqa: PLR0913, PLR0917 - what the message is made of
    old: Tokenizer,
    encoded: "tokenizers.Encoding",
    again: "tokenizers.Encoding",
    expected: list[int | None],
    place: int,
    where: tuple[Path, int, str],
) -> None:
    text, first, piece = where
    at = encoded.offsets[place][0] if place < len(encoded.offsets) else len(piece)
    line = first + piece.count("\n", 0, at)
    removed = place < len(expected) and expected[place] is None
    if removed:
        what = f"token {encoded.tokens[place]!r} (id {encoded.ids[place]}) occurs, which is removed; keep it, too"
    else:
        was = encoded.tokens[place] if place < len(encoded.tokens) else None
        now = again.tokens[place] if place < len(again.tokens) else None
        what = f"token {was!r} would become {now!r}; keep all tokens of the text, or leave this text out"
    raise MismatchError(
        f"{text}, line {line}: is not encoded as before by the tokenizer trimmed from {old.path}: {what}",
        metadata={"file": str(text)},
    )
