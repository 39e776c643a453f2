"""A length cut into steps."""

from collections.abc import Iterator


def spans(total: int, step: int) -> Iterator[tuple[int, int]]:
    """Cut 0..total into (begin, end) of `step` each, the last one shorter; nothing where `total` is 0."""
    return ((begin, min(begin + step, total)) for begin in range(0, total, step))
