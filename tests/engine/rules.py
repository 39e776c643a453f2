"""Short ways to write recipes in these tests."""

from pruning_engine.recipe import (
    Amount,
    Channels,
    Fraction,
    Magnitude,
    Norm,
    Recipe,
    Rule,
    Scope,
    Selector,
)


def l1(amount: Amount = Fraction(0.5), *include: str, scope: Scope = Scope.LOCAL) -> Rule:  # noqa: B008 - frozen
    return Rule(score=Magnitude(), amount=amount, scope=scope, select=Selector(include))


def ln(norm: Norm | None, dim: int = 0, amount: Amount = Fraction(0.5)) -> Rule:  # noqa: B008 - frozen
    return Rule(score=Magnitude(norm), amount=amount, granularity=Channels(dim))


def recipe(*rules: Rule, seed: int = 1) -> Recipe:
    return Recipe(rules, seed)
