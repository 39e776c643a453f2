"""LAMP: w^2 over the sum of the w^2 of the same tensor that are no smaller, compared between tensors."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pruning_engine import CheckpointError, Reason, RecipeError, get_threads, prune_state_dict, set_threads
from pruning_engine.recipe import Channels, Fraction, Lamp, Magnitude, NOfM, Recipe, Rule, Scope, check
from tests.engine.packed import pack
from tests.engine.rules import recipe

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn]
HALF = Fraction(0.5)


def scores(weight: torch.Tensor, kept: torch.Tensor) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The paper's equation 1, for each unpruned weight in order."""
    magnitudes = weight.double().abs()[kept].numpy()
    return np.array([each**2 / (magnitudes[magnitudes >= each] ** 2).sum() if each else 0.0 for each in magnitudes])


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), dtype=st.sampled_from(DTYPES), part=st.floats(0, 1), has_prior=st.booleans())
def test_the_weights_of_least_score_are_pruned(seed: int, dtype: torch.dtype, part: float, has_prior: bool) -> None:
    random = np.random.default_rng(seed)
    shapes = random.integers(1, 12, (3, 2))
    weights = {
        f"{index}.weight": torch.from_numpy(random.standard_normal(shape) * 4.0**index).to(dtype)
        for index, shape in enumerate(shapes)
    }
    priors = {name: torch.from_numpy(random.random(weight.shape) < 0.7) for name, weight in weights.items()}
    if not has_prior:
        priors = {name: torch.ones_like(prior) for name, prior in priors.items()}
    bits = {f"{name}:mask_bits": pack(prior) for name, prior in priors.items()}
    result = prune_state_dict({**weights, **bits}, recipe(Rule(score=Lamp(), amount=Fraction(part))), output="masked")

    ranked = np.concatenate([scores(weights[name], priors[name]) for name in weights])
    order = np.argsort(ranked, kind="stable")
    kept = np.ones(len(ranked), bool)
    kept[order[: round(part * len(ranked))]] = False
    for name, prior in priors.items():
        expected = prior.numpy().copy()
        expected[prior.numpy()], kept = kept[: int(prior.sum())], kept[int(prior.sum()) :]
        mask = result.state_dict[f"{name}_mask"]
        assert isinstance(mask, torch.Tensor)
        np.testing.assert_array_equal(mask.numpy(), expected)


@pytest.mark.parametrize("scope", [Scope.LOCAL])
def test_within_a_tensor_it_is_the_order_of_magnitudes(scope: Scope) -> None:
    state_dict = {"a.weight": torch.randn(20, 9), "b.weight": 9 * torch.randn(7, 30)}
    found, expected = (
        prune_state_dict(state_dict, recipe(Rule(score=score, amount=HALF, scope=scope)), output="mask").state_dict
        for score in (Lamp(), Magnitude())
    )
    assert all(torch.equal(found[name], bits) for name, bits in expected.items())  # type: ignore[arg-type]


def test_it_goes_with_n_of_m() -> None:
    rule = Rule(score=Lamp(), granularity=NOfM(2, 4))
    result = prune_state_dict({"w.weight": torch.tensor([[1.0, -4.0, 3.0, 2.0]])}, recipe(rule)).state_dict
    assert torch.equal(result["w.weight"], torch.tensor([[0.0, -4.0, 3.0, 0.0]]))  # type: ignore[arg-type]


def test_the_number_of_threads_changes_nothing() -> None:
    state_dict = {f"{index}.weight": torch.randn(300, 200) * index for index in range(1, 4)}
    before, masks = get_threads(), []
    try:
        for threads in (1, 2, 7):
            set_threads(threads)
            masks.append(
                prune_state_dict(state_dict, recipe(Rule(score=Lamp(), amount=HALF)), output="mask").state_dict
            )
    finally:
        set_threads(before)
    assert all(torch.equal(mask[name], masks[0][name]) for mask in masks for name in mask)  # type: ignore[arg-type]


def test_nan_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"b\.weight") as caught:
        prune_state_dict(
            {"a.weight": torch.ones(2, 2), "b.weight": torch.tensor([[1.0, torch.nan]])},
            recipe(Rule(score=Lamp(), amount=HALF)),
        )
    assert caught.value.reason is Reason.NAN_WEIGHTS


def test_channels_are_refused() -> None:
    with pytest.raises(RecipeError) as caught:
        check(Recipe((Rule(score=Lamp(), amount=HALF, granularity=Channels()),)))
    assert caught.value.field == "rules[0].granularity"
