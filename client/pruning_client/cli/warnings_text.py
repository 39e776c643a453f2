"""Warnings as lines for people; a few of each kind."""

from collections.abc import Sequence
from typing import Final

from pruning_client.cli.tables import printable
from pruning_client.results.model_warning import ModelWarning

_SHOWN: Final = 5
"""Of each kind: a model may have thousands of tensors."""


def warnings_text(warnings: Sequence[ModelWarning]) -> str:
    """Return one line for each warning, and one for those of a kind beyond the first few."""
    by_kind: dict[str, list[str]] = {}
    for warning in warnings:
        by_kind.setdefault(warning.kind, []).append(warning.message)
    return "".join(f"prune: warning: {printable(line)}\n" for messages in by_kind.values() for line in _few(messages))


def _few(messages: Sequence[str]) -> list[str]:
    more = len(messages) - _SHOWN
    if more <= 1:
        return list(messages)
    return [*messages[:_SHOWN], f"and {more:,} more like this; --json and --report list them all"]
