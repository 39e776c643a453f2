"""Refuses patterns that match no name of the checkpoint: a typo in one would leave out, or prune, the wrong tensors."""

from collections.abc import Iterable
from itertools import chain
from typing import Final

from pruning_engine.checkpoints.parameters import Parameters
from pruning_engine.errors import MismatchError, Reason
from pruning_engine.planning.name_patterns import Pattern, is_literal
from pruning_engine.planning.nearest_names import did_you_mean
from pruning_engine.runtime.yield_points import with_yields

_NAMES_BETWEEN_YIELDS: Final = 256
_SHOWN_CHARS: Final = 200


def refuse_unmatched(patterns: Iterable[Pattern], parameters: Parameters) -> None:
    """Refuse the first pattern that matches the name of no parameter, selected or not.

    Raises: MismatchError naming the pattern, and the names that are nearest to it.
    """
    names = [*parameters.weights, *chain.from_iterable(parameters.aliases.values())]
    known = frozenset(names)
    matched: set[str] = set()
    for pattern in patterns:
        if pattern.text in matched:
            continue
        if pattern.text in known if is_literal(pattern.text) else _matches_any(pattern, names):
            matched.add(pattern.text)
            continue
        raise MismatchError(
            Reason.SELECTS_NOTHING,
            f"{pattern.path}: {pattern.text[:_SHOWN_CHARS]!r} matches none of the {len(names)} parameters"
            f"{did_you_mean(pattern.text, names)}",
            field=pattern.path,
        )


def _matches_any(pattern: Pattern, names: Iterable[str]) -> bool:
    return any(map(pattern.matches, with_yields(names, _NAMES_BETWEEN_YIELDS)))
