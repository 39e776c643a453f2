"""What the engine must give, by sorting everything: slow, short, and written from the .proto's comments."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction as Exact

import numpy as np
import torch

from pruning_engine.kernels.random_keys import key_of, score
from pruning_engine.recipe import (
    Channels,
    CustomMask,
    Identity,
    ImportanceScores,
    NamedNorm,
    Norm,
    Prior,
    Random,
    Rule,
    Scope,
)

Tensors = dict[str, torch.Tensor]


@dataclass
class Candidate:
    """One entry or channel that competes; `place` is its flat index or its channel."""

    importance: float
    name: bytes
    place: int


def prune(weights: Tensors, rules: list[Rule], seed: int, companions: Tensors | None = None) -> dict[str, torch.Tensor]:
    """Return the boolean mask of each weight after the rules, which all act on every weight."""
    companions = companions or {}
    masks = {name: _prior(weight, companions.get(f"{name}:mask_bits")) for name, weight in weights.items()}
    for position, rule in enumerate(rules):
        groups = [list(weights)] if rule.scope is Scope.GLOBAL else [[name] for name in weights]
        for group in groups:
            _apply(rule, position, seed, {name: weights[name] for name in group}, masks, companions)
    return masks


def _prior(weight: torch.Tensor, bits: torch.Tensor | None) -> torch.Tensor:
    if bits is None:
        return torch.ones(weight.shape, dtype=torch.bool)
    flat = np.unpackbits(bits.numpy(), count=weight.numel(), bitorder="little")
    return torch.from_numpy(flat.astype(bool)).reshape(weight.shape)


def _apply(rule: Rule, position: int, seed: int, weights: Tensors, masks: Tensors, companions: Tensors) -> None:
    for name, weight in weights.items():
        if rule.prior is Prior.ZEROS:
            masks[name] = masks[name] & (weight.to(torch.float64) != 0)
        if isinstance(rule.score, CustomMask):
            masks[name] = masks[name] & (companions[f"{name}:mask"] == 1)
    if isinstance(rule.score, CustomMask | Identity):
        return
    candidates: list[Candidate] = []
    total = 0
    for name, weight in weights.items():
        found, all_of_them = _candidates(rule, position, seed, name, weight, masks[name], companions)
        candidates += found
        total += all_of_them
    candidates.sort(key=lambda each: (each.importance, each.name, each.place))
    assert rule.amount is not None
    for fallen in candidates[: rule.amount.of(len(candidates), total)]:
        mask = masks[fallen.name.decode()] = masks[fallen.name.decode()].clone()
        if isinstance(rule.granularity, Channels):
            mask.select(rule.granularity.dim, fallen.place).fill_(False)
        else:
            mask.view(-1)[fallen.place] = False


def _candidates(
    rule: Rule, position: int, seed: int, name: str, weight: torch.Tensor, mask: torch.Tensor, companions: Tensors
) -> tuple[list[Candidate], int]:
    key = key_of(seed, position, name)
    given = isinstance(rule.score, ImportanceScores) and f"{name}:scores" in companions
    ranked = companions[f"{name}:scores"] if given else weight
    encoded = name.encode()
    if not isinstance(rule.granularity, Channels):
        values = [abs(value) for value in ranked.reshape(-1).to(torch.float64).tolist()]
        if not ranked.dtype.is_floating_point:
            values = [abs(value) for value in ranked.reshape(-1).tolist()]
        alive = torch.nonzero(mask.reshape(-1)).view(-1).tolist()
        importance = (lambda i: score(key, i)) if isinstance(rule.score, Random) else (lambda i: values[i])
        return [Candidate(importance(i), encoded, i) for i in alive], weight.numel()
    dim = rule.granularity.dim
    values64 = ranked.to(torch.float64)
    if not given:
        values64 = torch.where(mask, values64, torch.zeros_like(values64))
    found = []
    for channel in range(weight.shape[dim]):
        if mask.select(dim, channel).any():
            if isinstance(rule.score, Random):
                importance_of = float("nan"), score(key, channel)
                found.append(Candidate(importance_of[1], encoded, channel))
            else:
                found.append(Candidate(_norm(rule, values64.select(dim, channel)), encoded, channel))
    return found, weight.shape[dim]


def _norm(rule: Rule, channel: torch.Tensor) -> float:
    """The power sum, exact and rounded once, of terms that are rounded each; other norms as torch has them."""
    norm: Norm | None = getattr(rule.score, "norm", None)
    norm = 2.0 if norm is None or norm is NamedNorm.FRO else norm
    if norm is NamedNorm.NUC:
        return float(torch.linalg.matrix_norm(channel, "nuc"))  # type: ignore[no-untyped-call,unused-ignore]
    values: list[float] = [abs(value) for value in channel.reshape(-1).tolist()]
    if math.isinf(norm):
        return max(values) if norm > 0 else min(values)
    forms: dict[float, Callable[[float], float]] = {
        0.0: lambda x: float(x != 0),
        0.5: math.sqrt,
        1.0: lambda x: x,
        2.0: lambda x: x * x,
        3.0: lambda x: x * x * x,
        4.0: lambda x: (x * x) * (x * x),
    }
    if norm not in forms:
        return float(torch.linalg.vector_norm(channel, norm))
    terms = [forms[norm](value) for value in values]
    return math.inf if math.inf in terms else float(sum((Exact(term) for term in terms), Exact(0)))
