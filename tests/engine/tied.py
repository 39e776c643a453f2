"""Rules of tied channels for these tests, and what pruning makes of a state dict by them."""

import torch

from pruning_engine import OutputForm, PruneResult, prune_state_dict
from pruning_engine.recipe import (
    Amount,
    ChannelGroup,
    ChannelSlice,
    Count,
    Fraction,
    Magnitude,
    Recipe,
    Rule,
    Scope,
    Score,
    Units,
)

Tensors = dict[str, torch.Tensor]


def group(*ties: str | ChannelSlice, units: int | None = None, for_each: str = "", **config: int) -> ChannelGroup:
    """Return a group of ties, of which some are written short: `gate_proj.weight:0`."""
    return ChannelGroup(ties=tuple(map(_tie, ties)), units=units, for_each=for_each, config=config)


def _tie(tie: str | ChannelSlice) -> ChannelSlice:
    if isinstance(tie, ChannelSlice):
        return tie
    name, _, dim = tie.rpartition(":")
    return ChannelSlice(name, int(dim))


def units(
    *groups: ChannelGroup,
    amount: Amount | None = Fraction(0.5),  # noqa: B008 - frozen
    score: Score = Magnitude(),  # noqa: B008
    scope: Scope = Scope.LOCAL,
    **fields: object,
) -> Rule:
    """Return a rule of units."""
    asked = Units(groups=groups, **fields)  # type: ignore[arg-type]
    return Rule(score=score, amount=amount, scope=scope, granularity=asked)


def prune_with(state_dict: Tensors, *rules: Rule, output: str = "pruned", device: str | None = None) -> PruneResult:
    """Prune by these rules."""
    return prune_state_dict(state_dict, Recipe(rules, 3), output=OutputForm(output), device=device)


def kept(state_dict: Tensors, *rules: Rule) -> list[tuple[int, ...]]:
    """Return the units that are left, group by group."""
    return [found.kept for found in prune_with(state_dict, *rules).report.groups]


def mlp(*norms: float, name: str = "") -> Tensors:
    """Return two weights and a bias whose hidden units have these norms."""
    rows = torch.tensor(norms, dtype=torch.float32)
    prefix = f"{name}." if name else ""
    return {
        f"{prefix}up.weight": torch.stack([rows, torch.zeros_like(rows)], dim=1),
        f"{prefix}up.bias": torch.ones_like(rows),
        f"{prefix}down.weight": torch.zeros(2, len(norms)),
    }


MLP = group("up.weight:0", "up.bias:0", "down.weight:1")
"""How the tensors of `mlp` are tied."""

ONE = Count(1)
