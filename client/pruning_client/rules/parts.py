"""The parts of a rule that several builders set: targets, amount, scope, norm, granularity."""

import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Final, Literal, TypeAlias, TypeVar

from pruning_client.errors import is_text, recipe_error
from pruning_client.recipes.amounts import AmountLike, amount_of
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb

Patterns: TypeAlias = str | Iterable[str]
ScopeName: TypeAlias = Literal["local", "output_channel", "global"]
PriorName: TypeAlias = Literal["history", "mask", "zeros"]
NormLike: TypeAlias = float | int | Literal["fro", "nuc"]
NOfMLike: TypeAlias = tuple[int, int]
"""n and m: (2, 4) keeps 2 of each 4."""

BlockLike: TypeAlias = tuple[int, int]
"""Output channels and input channels of one block: (16, 1)."""

_T = TypeVar("_T")

_SCOPES: Final = {
    "local": pb.SCOPE_LOCAL,
    "output_channel": pb.SCOPE_OUTPUT_CHANNEL,
    "global": pb.SCOPE_GLOBAL,
}
_PRIORS: Final = {"history": pb.PRIOR_UNSPECIFIED, "mask": pb.PRIOR_MASK, "zeros": pb.PRIOR_ZEROS}
_NAMED_NORMS: Final = {"fro": pb.NAMED_NORM_FRO, "nuc": pb.NAMED_NORM_NUC}
_END_OF_32_BITS: Final = 2**32


def rule_of(score: pb.Score, include: Patterns, exclude: Patterns, prior: str) -> pb.Rule:
    """Return a rule with a score, its targets and what counts as pruned before. Raises: RecipeError."""
    rule = pb.Rule(score=score, prior=choice(_PRIORS, prior, "prior"))
    patterns, exceptions = _patterns(include, "include"), _patterns(exclude, "exclude")
    if patterns or exceptions:
        rule.select.CopyFrom(pb.Selector(include=patterns, exclude=exceptions))
    return rule


def ranking(rule: pb.Rule, amount: AmountLike, scope: str) -> pb.Rule:
    """Set how much is pruned, and what competes. Raises: RecipeError."""
    rule.amount.CopyFrom(amount_of(amount))
    rule.scope = choice(_SCOPES, scope, "scope")
    return rule


def channels(rule: pb.Rule, dim: int) -> pb.Rule:
    """Set the dim whose channels are pruned. Raises: RecipeError."""
    rule.granularity.channels.dim = dim_of(dim, "granularity.channels.dim")
    return rule


def dim_of(dim: int, field: str) -> int:
    """Return a dim. Raises: RecipeError if it is not an integer of 32 bits."""
    if not isinstance(dim, Integral) or not -(2**31) <= dim < 2**31:
        raise recipe_error(Reason.INVALID_RECIPE, field, f"a dim is an integer of 32 bits, got {dim!r}")
    return int(dim)


def at_least_one(value: int, field: str, end: int = _END_OF_32_BITS) -> int:
    """Return an integer from 1 that is below `end`. Raises: RecipeError."""
    if not isinstance(value, Integral) or not 1 <= value < end:
        raise recipe_error(Reason.INVALID_RECIPE, field, f"this is an integer, 1 to {end - 1}, got {value!r}")
    return int(value)


def n_of_m_pattern(rule: pb.Rule, n: int, m: int, dim: int | None = None, *, allow_dense: bool = False) -> pb.Rule:
    """Set the pattern; the largest m is the server's to decide. Raises: RecipeError."""
    if not isinstance(m, Integral) or not 2 <= m < _END_OF_32_BITS:
        description = f"the entries of a group are an integer of 2 or more, got {m!r}"
        raise recipe_error(Reason.INVALID_RECIPE, "granularity.n_of_m.m", description)
    if not isinstance(n, Integral) or not 1 <= n < m:
        description = f"the kept entries of a group of {m} are 1 to {m - 1}, got {n!r}"
        raise recipe_error(Reason.INVALID_RECIPE, "granularity.n_of_m.n", description)
    pattern = pb.NOfM(n=int(n), m=int(m), allow_dense=allow_dense)
    if dim is not None:
        pattern.dim = dim_of(dim, "granularity.n_of_m.dim")
    rule.granularity.n_of_m.CopyFrom(pattern)
    return rule


def entry_blocks(rule: pb.Rule, block: BlockLike) -> pb.Rule:
    """Set rectangles of entries as what is pruned. Raises: RecipeError."""
    rows, columns = pair(
        block, "granularity.blocks", "the output channels and input channels of a block, such as (16, 1)"
    )
    rule.granularity.blocks.rows = at_least_one(rows, "granularity.blocks.rows")
    rule.granularity.blocks.columns = at_least_one(columns, "granularity.blocks.columns")
    return rule


def pair(value: object, field: str, expected: str) -> tuple[int, int]:
    """Return two numbers, which a recipe file gives as a list. Raises: RecipeError."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise recipe_error(Reason.INVALID_RECIPE, field, f"this is {expected}; got {value!r}")
    first, second = value
    return first, second


def score_of(norm: NormLike | None, scope: str, *, importance_scores: bool) -> pb.Score:
    """Return the score of magnitudes, or of the scores that are sent, with a norm for channels. Raises: RecipeError."""
    if importance_scores:
        scores = pb.ImportanceScores(fall_back_to_weights=scope == "global")
        if norm is not None:
            scores.norm.CopyFrom(_norm(norm, "score.importance_scores.norm"))
        return pb.Score(importance_scores=scores)
    magnitude = pb.Magnitude()
    if norm is not None:
        magnitude.norm.CopyFrom(_norm(norm, "score.magnitude.norm"))
    return pb.Score(magnitude=magnitude)


def choice(choices: Mapping[str, _T], name: str, field: str) -> _T:
    """Return what a word stands for. Raises: RecipeError with the words that are allowed."""
    if name not in choices:
        allowed = " or ".join(repr(word) for word in choices)
        raise recipe_error(Reason.INVALID_RECIPE, field, f"this is {allowed}, got {name!r}")
    return choices[name]


def _norm(norm: NormLike, field: str) -> pb.Norm:
    if isinstance(norm, str):
        if norm not in _NAMED_NORMS:
            raise recipe_error(Reason.INVALID_NORM, field, f'a norm is a number, "fro" or "nuc", got {norm!r}')
        return pb.Norm(named=_NAMED_NORMS[norm])
    if not isinstance(norm, Real) or math.isnan(norm):
        raise recipe_error(Reason.INVALID_NORM, f"{field}.p", f"p is a number, also 0 and infinity, got {norm!r}")
    try:
        return pb.Norm(p=float(norm))
    except OverflowError as error:
        description = "p is a number that fp64 has; for the norm that is the largest entry give infinity"
        raise recipe_error(Reason.INVALID_NORM, f"{field}.p", description) from error


def _patterns(patterns: Patterns, field: str) -> list[str]:
    several = [patterns] if isinstance(patterns, str) else list(patterns)
    if not all(isinstance(pattern, str) for pattern in several):
        raise recipe_error(Reason.INVALID_PATTERN, f"select.{field}", f"patterns are strings, got {several!r}")
    if not all(is_text(pattern) for pattern in several):
        raise recipe_error(Reason.INVALID_PATTERN, f"select.{field}", f"patterns are Unicode text, got {several!r}")
    return several
