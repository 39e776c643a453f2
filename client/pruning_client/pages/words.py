"""Numbers in words for people."""


def bytes_words(count: int) -> str:
    """Return a number of bytes in the unit that leaves at most three digits before the point."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def percent_words(part: int, total: int) -> str:
    """Return a part of a total in percent; of nothing it is 0."""
    return f"{part / total if total else 0.0:.2%}"


def number_words(value: float) -> str:
    """Return a number in few digits."""
    return f"{value:.3g}"


def change_words(before: str, after: str) -> str:
    """Return a text before and after, once if it did not change."""
    return after if before == after else f"{before} → {after}"
