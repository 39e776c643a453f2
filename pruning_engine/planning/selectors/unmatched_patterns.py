"""Refuses patterns that match no name of the checkpoint: a typo in one would leave out, or prune, the wrong tensors."""

from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from typing import Final, NoReturn

from pruning_engine.checkpoints.parameters import Parameters
from pruning_engine.errors import MismatchError, Reason
from pruning_engine.planning.selectors.name_patterns import Pattern, is_literal
from pruning_engine.planning.selectors.nearest_names import did_you_mean
from pruning_engine.runtime.yield_points import with_yields

_NAMES_BETWEEN_YIELDS: Final = 256
_SHOWN_CHARS: Final = 200
_EXCLUDE: Final = ".exclude["


def refuse_unmatched(patterns: Iterable[Pattern], parameters: Parameters) -> None:
    """Refuse the first pattern that matches the name of no parameter, selected or not.

    A pattern that excludes may match scales alone; they are never pruned.
    Raises: MismatchError naming the pattern, and the names that are nearest to it.
    """
    others = dict.fromkeys(chain.from_iterable(parameters.aliases.values()))
    matched: set[str] = set()
    for pattern in patterns:
        if pattern.text in matched:
            continue
        if _matches_any(pattern, parameters.weights, others):
            matched.add(pattern.text)
            continue
        scale = _matching_scale(pattern, parameters)
        if scale is None:
            _refuse(pattern, [*parameters.weights, *others])
        if _EXCLUDE not in pattern.path:
            _refuse_scale(pattern, scale)


def _matches_any(pattern: Pattern, weights: Collection[str], others: Collection[str]) -> bool:
    if is_literal(pattern.text):
        return pattern.text in weights or pattern.text in others
    return any(map(pattern.matches, with_yields(chain(weights, others), _NAMES_BETWEEN_YIELDS)))


def _refuse(pattern: Pattern, names: Sequence[str]) -> NoReturn:
    raise MismatchError(
        Reason.SELECTS_NOTHING,
        f"{pattern.path}: {pattern.text[:_SHOWN_CHARS]!r} matches none of the {len(names)} parameters"
        f"{did_you_mean(pattern.text, names)}",
        field=pattern.path,
    )


def _matching_scale(pattern: Pattern, parameters: Parameters) -> str | None:
    scales = (scale.name for scale, *_ in parameters.scales.values())
    return next((name for name in with_yields(scales, _NAMES_BETWEEN_YIELDS) if pattern.matches(name)), None)


def _refuse_scale(pattern: Pattern, scale: str) -> NoReturn:
    raise MismatchError(
        Reason.SELECTS_NOTHING,
        f"{pattern.path}: {pattern.text[:_SHOWN_CHARS]!r} matches {scale!r}, the scale of an FP8 weight, and no "
        "weight; a scale is never pruned itself. Include the weight, which is ranked by code times scale",
        field=pattern.path,
        tensor=scale,
    )
