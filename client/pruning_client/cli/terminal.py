"""Text of others on a terminal: what it may hold, and how many columns it takes.

A tensor may have any name. Written raw, one could move the cursor, color the screen, or pass for a line of ours.
"""


def printable(text: str) -> str:
    """Escape what does not print: control characters, line breaks, what turns the direction of writing."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def columns(text: str) -> int:
    """Count the columns of a terminal that a text takes: two for most East Asian characters."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415 - only for those who have such names

    return cell_len(text)
