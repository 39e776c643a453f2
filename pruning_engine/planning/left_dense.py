"""Tensors that a rule of N:M sparsity selects and leaves as they are, because they are not whole groups."""

from collections.abc import Iterator, Sequence

from pruning_engine.granularities.n_of_m import NOfM
from pruning_engine.planning.plan import PlannedParameter
from pruning_engine.recipe import Recipe
from pruning_engine.report import ModelWarning, WarningKind


def left_dense_warnings(recipe: Recipe, parameters: Sequence[PlannedParameter]) -> Iterator[ModelWarning]:
    """Yield one warning for each rule that leaves tensors dense."""
    for position, rule in enumerate(recipe.rules):
        pattern = rule.granularity
        if not (isinstance(pattern, NOfM) and pattern.allow_dense):
            continue
        left = [each for each in parameters if position in each.rules and not pattern.fits(each.shape, each.input_dim)]
        if left:
            yield _warning(position, pattern, left)


def _warning(position: int, pattern: NOfM, left: Sequence[PlannedParameter]) -> ModelWarning:
    first, others = left[0], len(left) - 1
    dim = pattern.dim_of(first.shape, first.input_dim)
    more = f", and so {'is' if others == 1 else 'are'} {others:,} more" if others else ""
    return ModelWarning(
        kind=WarningKind.LEFT_DENSE,
        tensor=first.name,
        message=f"rules[{position}].granularity.{pattern.field}: tensor {first.name!r} of shape {list(first.shape)} is "
        f"not whole groups of {pattern.m} along dim {dim} and is left as it is{more}; exclude "
        "such tensors, or choose another m",
    )
