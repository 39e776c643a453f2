"""Text of others made safe to show: a tensor may have any name."""


def printable(text: str) -> str:
    """Escape what does not print: control characters, line breaks, marks that change the direction of writing."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
