"""torch.nn.utils.prune as the reference, where there are no ties and no randomness: the same masks, the same counts."""

from typing import Any

import pytest
import torch
import torch.nn.utils.prune

from pruning_engine import prune_state_dict
from pruning_engine.recipe import (
    Amount,
    Channels,
    Count,
    CustomMask,
    Entries,
    Fraction,
    Granularity,
    ImportanceScores,
    Magnitude,
    NamedNorm,
    Norm,
    Random,
    Rule,
    Scope,
    Selector,
)
from tests.engine.packed import pack, unpack
from tests.engine.rules import l1, ln, recipe

prune: Any = torch.nn.utils.prune  # which has no annotations

SHAPES = [(7, 5), (4, 3, 2), (3, 4, 2, 2), (1, 6), (1, 1)]
AMOUNTS = [0, 1, 0.0, 0.25, 0.5, 1.0]


def amount_of(value: float) -> Amount:
    return Count(value) if isinstance(value, int) else Fraction(value)


def module_of(weight: torch.Tensor, prior: torch.Tensor | None = None) -> torch.nn.Module:
    module = torch.nn.Module()
    module.register_parameter("weight", torch.nn.Parameter(weight.clone()))
    if prior is not None:
        prune.custom_from_mask(module, "weight", prior)
    return module


def mask_of(
    weight: torch.Tensor, rule: Rule, prior: torch.Tensor | None = None, **companions: torch.Tensor
) -> torch.Tensor:
    state_dict = {"weight": weight} | {f"weight:{suffix}": tensor for suffix, tensor in companions.items()}
    if prior is not None:
        state_dict["weight:mask_bits"] = pack(prior)
    named = Rule(**{field: getattr(rule, field) for field in rule.__slots__} | {"select": Selector(("weight",))})
    return unpack(prune_state_dict(state_dict, recipe(named), output="mask").state_dict["weight:mask_bits"], weight)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(11)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("amount", AMOUNTS)
@pytest.mark.parametrize("again", [False, True], ids=["fresh", "on a prior mask"])
def test_l1_unstructured(shape: tuple[int, ...], amount: float, again: bool) -> None:
    weight = torch.randn(shape)
    prior = torch.rand(shape) < 0.8 if again and weight.numel() > 1 else None
    module = module_of(weight, prior)
    prune.l1_unstructured(module, "weight", amount)
    assert torch.equal(mask_of(weight, l1(amount_of(amount)), prior), module.get_buffer("weight_mask").bool())


@pytest.mark.parametrize("shape", SHAPES[:3], ids=str)
@pytest.mark.parametrize("norm", [0.5, 1.0, 2.0, 3.0, 4.0, 5.5, -1.0, torch.inf, -torch.inf])
@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("amount", [1, 0.5])
def test_ln_structured(shape: tuple[int, ...], norm: float, dim: int, amount: float) -> None:
    weight = torch.randn(shape)
    module = module_of(weight)
    prune.ln_structured(module, "weight", amount, norm, dim)
    assert torch.equal(mask_of(weight, ln(norm, dim, amount_of(amount))), module.get_buffer("weight_mask").bool())


@pytest.mark.parametrize(("norm", "word"), [(NamedNorm.FRO, "fro"), (NamedNorm.NUC, "nuc")])
def test_ln_structured_by_named_norms(norm: Norm, word: str) -> None:
    weight = torch.randn(6, 3, 4)
    module = module_of(weight)
    prune.ln_structured(module, "weight", 0.5, word, 0)
    assert torch.equal(mask_of(weight, ln(norm)), module.get_buffer("weight_mask").bool())


def test_ln_structured_on_a_prior_mask() -> None:
    weight, prior = torch.randn(8, 5), torch.rand(8, 5) < 0.6
    prior[2] = False
    module = module_of(weight, prior)
    prune.ln_structured(module, "weight", 0.5, 2, 0)
    assert torch.equal(mask_of(weight, ln(2.0), prior), module.get_buffer("weight_mask").bool())


def test_importance_scores_of_entries_and_channels() -> None:
    weight, scores = torch.randn(8, 5), torch.randn(8, 5)
    entries, channels = module_of(weight), module_of(weight)
    prune.l1_unstructured(entries, "weight", 0.5, importance_scores=scores)
    prune.ln_structured(channels, "weight", 0.5, 2, 1, importance_scores=scores)
    by_entry = Rule(score=ImportanceScores(), amount=Fraction(0.5))
    by_channel = Rule(score=ImportanceScores(2.0), amount=Fraction(0.5), granularity=Channels(1))
    assert torch.equal(mask_of(weight, by_entry, scores=scores), entries.get_buffer("weight_mask").bool())
    assert torch.equal(mask_of(weight, by_channel, scores=scores), channels.get_buffer("weight_mask").bool())


def test_scores_of_channels_count_whole_on_a_prior_mask() -> None:
    weight, scores, prior = torch.randn(8, 5), torch.randn(8, 5), torch.rand(8, 5) < 0.6
    module = module_of(weight, prior)
    prune.ln_structured(module, "weight", 0.5, 2, 0, importance_scores=scores)
    rule = Rule(score=ImportanceScores(2.0), amount=Fraction(0.5), granularity=Channels())
    assert torch.equal(mask_of(weight, rule, prior, scores=scores), module.get_buffer("weight_mask").bool())


def test_custom_from_mask_on_a_prior_mask() -> None:
    weight, prior, mask = torch.randn(4, 5), torch.rand(4, 5) < 0.6, torch.rand(4, 5) < 0.6
    module = module_of(weight, prior)
    prune.custom_from_mask(module, "weight", mask)
    assert torch.equal(
        mask_of(weight, Rule(score=CustomMask()), prior, mask=mask), module.get_buffer("weight_mask").bool()
    )


@pytest.mark.parametrize("amount", [0, 3, 0.0, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("granularity", [Entries(), Channels(1)], ids=["entries", "channels"])
def test_random_pruning_takes_as_many(amount: float, granularity: Granularity) -> None:
    weight, prior = torch.randn(6, 9), torch.ones(6, 9, dtype=torch.bool)
    prior[:, 3] = False
    module = module_of(weight, prior)
    if isinstance(granularity, Channels):
        prune.random_structured(module, "weight", amount, 1)
    else:
        prune.random_unstructured(module, "weight", amount)
    rule = Rule(score=Random(), amount=amount_of(amount), granularity=granularity)
    assert mask_of(weight, rule, prior).sum() == module.get_buffer("weight_mask").sum()


@pytest.mark.parametrize("amount", [0, 10, 0.2, 0.9, 1.0])
def test_global_unstructured(amount: float) -> None:
    weights = {"a": torch.randn(4, 5), "b": torch.randn(3, 7) * 2}
    modules = [module_of(weight) for weight in weights.values()]
    prune.global_unstructured([(module, "weight") for module in modules], prune.L1Unstructured, amount=amount)
    rule = Rule(score=Magnitude(), amount=amount_of(amount), scope=Scope.GLOBAL, select=Selector(("*",)))
    result = prune_state_dict(weights, recipe(rule), output="mask").state_dict
    for module, (name, weight) in zip(modules, weights.items(), strict=True):
        assert torch.equal(unpack(result[f"{name}:mask_bits"], weight), module.get_buffer("weight_mask").bool())


def test_a_module_pruned_by_torch_is_pruned_further() -> None:
    module = torch.nn.Linear(6, 4)
    prune.l1_unstructured(module, "weight", 0.5)
    result = prune_state_dict(module.state_dict(), recipe(l1()), output="masked").state_dict
    module.load_state_dict(result)
    again = torch.nn.Linear(6, 4)
    assert int(module.get_buffer("weight_mask").sum()) == 6
    prune.identity(again, "weight")
    again.load_state_dict(result)
    assert torch.equal(again.get_buffer("weight_mask"), module.get_buffer("weight_mask"))
