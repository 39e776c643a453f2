"""Each pruning method on plain tensors: what falls, and what is refused."""

import math
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch

import pruning_engine as prune
from tests.engine.pruned_modules import mask_of, module_of, row

ROWS = torch.tensor([[1.0, -2.0, 3.0], [-6.0, 5.0, 4.0]])


def mask_from(method: prune.BasePruningMethod, t: torch.Tensor) -> list[object]:
    """The mask as nested lists."""
    mask: list[object] = method.compute_mask(t, default_mask=torch.ones_like(t)).tolist()
    return mask


def test_l1_prunes_the_least_magnitudes() -> None:
    assert mask_from(prune.L1Unstructured(3), ROWS) == [[0, 0, 0], [1, 1, 1]]


def test_equal_magnitudes_are_pruned_in_flat_order() -> None:
    assert mask_from(prune.L1Unstructured(2), torch.ones(2, 2)) == [[0, 0], [1, 1]]


@pytest.mark.parametrize(
    ("amount", "falls"),
    [(0, 0), (0.0, 0), (1, 1), (1.0, 5), (True, 1), (0.5, 2), (0.3, 2), (Fraction(3, 5), 3), (5, 5)],
    ids=str,
)
def test_int_is_a_count_and_float_a_fraction_rounded_half_to_even(amount: float, falls: int) -> None:
    mask = prune.L1Unstructured(amount).compute_mask(torch.arange(5.0), default_mask=torch.ones(5))
    assert int((mask == 0).sum()) == falls


def test_computing_a_mask_alone_ranks_what_the_prior_mask_pruned_too() -> None:
    prior = torch.tensor([[0.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    mask = prune.L1Unstructured(2).compute_mask(ROWS, default_mask=prior)
    assert mask.tolist() == [[0, 0, 1], [1, 1, 1]]


def test_the_prior_mask_given_to_a_method_stays_as_it_was() -> None:
    prior = torch.ones(2, 3)
    prune.L1Unstructured(2).compute_mask(ROWS, default_mask=prior)
    assert prior.all()


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 0.5, 1.5, math.inf, "fro"], ids=str)
def test_ln_prunes_the_channel_of_least_norm(n: float | str) -> None:
    channels = torch.tensor([[3.0, 3.0, 3.0], [0.0, 2.0, 2.0], [4.0, 4.0, 4.0]])
    assert mask_from(prune.LnStructured(1, n, dim=0), channels) == [[1, 1, 1], [0, 0, 0], [1, 1, 1]]


def test_ln_of_minus_infinity_goes_by_the_least_entry() -> None:
    assert mask_from(prune.LnStructured(1, -math.inf, dim=1), ROWS) == [[0, 1, 1], [0, 1, 1]]


def test_the_nuclear_norm_ranks_matrices() -> None:
    matrices = torch.stack([3 * torch.eye(2), torch.full((2, 2), 2.0)])  # 6 and 4
    mask = prune.LnStructured(1, "nuc", dim=0).compute_mask(matrices, default_mask=torch.ones(2, 2, 2))
    assert mask.sum(dim=(1, 2)).tolist() == [4, 0]


def test_random_channels_are_pruned_whole() -> None:
    mask = prune.RandomStructured(0.5, dim=1).compute_mask(torch.ones(3, 4), default_mask=torch.ones(3, 4))
    assert sorted(mask.sum(dim=0).tolist()) == [0, 0, 3, 3]


def test_identity_prunes_nothing() -> None:
    assert mask_from(prune.Identity(), ROWS) == [[1, 1, 1], [1, 1, 1]]


def test_a_custom_mask_joins_the_prior_one() -> None:
    method = prune.CustomFromMask(torch.tensor([1, 0, 1]))
    assert method.compute_mask(torch.ones(3), default_mask=torch.tensor([1.0, 1.0, 0.0])).tolist() == [1, 0, 0]


def test_pruned_entries_become_plus_zero() -> None:
    pruned = prune.L1Unstructured(1).prune(torch.tensor([-1.0, 2.0]))
    assert pruned.tolist() == [0.0, 2.0]
    assert not torch.signbit(pruned).any()


def test_prune_ranks_importance_scores_in_place_of_the_tensor() -> None:
    scores = torch.tensor([3.0, -1.0, 2.0])
    assert prune.L1Unstructured(1).prune(torch.ones(3), importance_scores=scores).tolist() == [1, 0, 1]


DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.complex64,
    torch.int64,
    torch.int8,
    torch.uint8,
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_module_of_any_dtype_is_pruned(dtype: torch.dtype) -> None:
    module = module_of(torch.tensor([4.0, 1.0, 3.0, 2.0]).to(dtype))
    prune.l1_unstructured(module, "weight", 0.5)
    assert mask_of(module).to(torch.complex64).ne(0).tolist() == [True, False, True, False]


@pytest.mark.parametrize("shape", [(), (0,), (1,), (0, 3), (3, 0), (2, 1, 3)], ids=str)
def test_tensors_without_entries_or_dims_are_pruned_too(shape: tuple[int, ...]) -> None:
    module = module_of(torch.ones(shape))
    prune.l1_unstructured(module, "weight", 1.0)
    prune.identity(module, "weight")
    assert not mask_of(module).any()


def test_a_channels_last_weight_is_pruned_in_c_order_and_keeps_its_layout() -> None:
    weight = torch.tensor([[[[1.0, 1.0]], [[1.0, 9.0]]]]).contiguous(memory_format=torch.channels_last)
    module = module_of(weight)
    prune.l1_unstructured(module, "weight", 2)
    assert mask_of(module).tolist() == [[[[0, 0]], [[1, 1]]]]
    assert mask_of(module).stride() == weight.stride()


def test_random_scores_of_bfloat16_weights_differ() -> None:
    method = prune.RandomUnstructured(0.5, seed=7)
    narrow, wide = (method.prune(torch.ones(1000, dtype=dtype)) for dtype in (torch.bfloat16, torch.float64))
    assert torch.equal(narrow.double(), wide)


def test_the_same_seed_gives_the_same_mask() -> None:
    first, second = (row(*range(64)) for _ in range(2))
    for module in (first, second):
        prune.random_unstructured(module, "weight", 0.5, seed=3)
    assert torch.equal(mask_of(first), mask_of(second))


def test_without_a_seed_torch_manual_seed_governs() -> None:
    torch.manual_seed(5)
    first = prune.random_unstructured(row(*range(64)), "weight", 0.5)
    torch.manual_seed(5)
    second = prune.random_unstructured(row(*range(64)), "weight", 0.5)
    assert torch.equal(mask_of(first), mask_of(second))


def test_without_a_seed_no_two_tensors_share_a_mask() -> None:
    torch.manual_seed(5)
    first, second = (prune.random_unstructured(row(*range(64)), "weight", 0.5) for _ in range(2))
    assert not torch.equal(mask_of(first), mask_of(second))


@pytest.mark.parametrize(
    "make",
    [
        prune.L1Unstructured,
        prune.RandomUnstructured,
        prune.RandomStructured,
        lambda amount: prune.LnStructured(amount, 2),
    ],
    ids=["l1", "random", "random channels", "ln"],
)
@pytest.mark.parametrize("amount", [math.nan, -1, -0.1, 1.1, math.inf], ids=str)
def test_an_amount_out_of_range_is_refused_up_front(
    make: Callable[[float], prune.BasePruningMethod], amount: float
) -> None:
    with pytest.raises(prune.RecipeError, match="out of range") as refusal:
        make(amount)
    assert refusal.value.field == "amount"


def test_an_amount_that_is_no_number_is_refused_as_torch_refuses_it() -> None:
    with pytest.raises(TypeError, match="not a number") as refusal:
        prune.L1Unstructured("half")  # type: ignore[arg-type]  # that is the point
    assert isinstance(refusal.value, prune.RecipeError)


@pytest.mark.parametrize("n", ["max", None, math.nan], ids=str)
def test_a_norm_that_is_none_is_refused(n: float) -> None:
    with pytest.raises(prune.RecipeError, match="is not a norm"):
        prune.LnStructured(1, n)


@pytest.mark.parametrize(
    ("method", "shape", "error", "words"),
    [
        (prune.L1Unstructured(7), (2, 3), ValueError, "only 6 are still unpruned"),
        (prune.LnStructured(3, 2, dim=0), (2, 3), ValueError, "only 2 are still unpruned"),
        (prune.LnStructured(1, 2, dim=2), (2, 3), IndexError, "dims -2 to 1"),
        (prune.RandomStructured(1, dim=-3), (2, 3), IndexError, "dims -2 to 1"),
        (prune.LnStructured(1, 2, dim=0), (3,), ValueError, "2 dims or more"),
        (prune.LnStructured(1, "nuc", dim=0), (2, 3), ValueError, "tensors of 3 dims"),
        (prune.CustomFromMask(torch.ones(2)), (2, 3), AssertionError, r"mask has shape \[2\]"),
    ],
    ids=["entries", "channels", "dim", "negative dim", "no channels", "nuc", "mask"],
)
def test_what_does_not_fit_the_tensor_is_refused_with_torchs_type(
    method: prune.BasePruningMethod, shape: tuple[int, ...], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as refusal:
        method.compute_mask(torch.ones(shape), default_mask=torch.ones(shape))
    assert isinstance(refusal.value, prune.MismatchError)


@pytest.mark.parametrize("method", [prune.L1Unstructured(1), prune.LnStructured(1, 2, dim=0)], ids=["l1", "ln"])
def test_nan_has_no_rank(method: prune.BasePruningMethod) -> None:
    with pytest.raises(prune.CheckpointError, match="NaN has no rank"):
        method.prune(torch.tensor([[1.0, math.nan]]))


def test_scores_of_another_shape_are_refused() -> None:
    with pytest.raises(
        AssertionError, match=r"importance_scores has shape \[3\]; it must have that of tensor t, \[2\]"
    ):
        prune.L1Unstructured(1).prune(torch.ones(2), importance_scores=torch.ones(3))
