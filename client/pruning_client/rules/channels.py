# ruff: noqa: PLR0913 - a builder has torch's parameters and the parts of a Rule, each by keyword
"""Builders of rules that prune whole channels of single tensors."""

from pruning_client.recipes.amounts import AmountLike
from pruning_client.rules.parts import NormLike, Patterns, PriorName, ScopeName, channels, ranking, rule_of, score_of
from pruning_client.rules.rule import Rule
from pruning_proto.v1 import pruning_pb2 as pb


def random_structured(
    amount: AmountLike,
    dim: int = 0,
    *,
    include: Patterns = (),
    exclude: Patterns = (),
    scope: ScopeName = "local",
    prior: PriorName = "history",
) -> Rule:
    """Prune channels along `dim` at random, from the recipe's seed.

    Raises: RecipeError for an argument that is out of range or not known.
    Example:
        >>> rules.random_structured(2, dim=1)
        random_structured(2, dim=1)
    """
    score = pb.Score(random=pb.RandomScore())
    rule = ranking(rule_of(score, include, exclude, prior), amount, scope)
    return Rule.from_message(channels(rule, dim))


def ln_structured(
    amount: AmountLike,
    n: NormLike = 2,
    dim: int = 0,
    *,
    include: Patterns = (),
    exclude: Patterns = (),
    scope: ScopeName = "local",
    prior: PriorName = "history",
    importance_scores: bool = False,
) -> Rule:
    """Prune the channels along `dim` of the smallest Ln norm; `n` is any of torch's: a number, "fro" or "nuc".

    Dim 0 are the outputs of Linear and Conv layers. ConvTranspose layers and GPT-2's Conv1D have them along dim 1; the
    plan and the report warn of a rule that takes their inputs.

    Raises: RecipeError for an argument that is out of range or not known.
    Example:
        >>> rules.ln_structured(0.25, n=1, dim=0)
        ln_structured(0.25, n=1)
    """
    score = score_of(n, scope, importance_scores=importance_scores)
    rule = ranking(rule_of(score, include, exclude, prior), amount, scope)
    return Rule.from_message(channels(rule, dim))
