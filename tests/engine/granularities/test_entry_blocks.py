"""Blocks: rectangles of output channels by input channels, by the sum of the importances of their entries."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from pruning_engine import (
    CheckpointError,
    MismatchError,
    Reason,
    RecipeError,
    get_threads,
    prune_state_dict,
    set_threads,
)
from pruning_engine.recipe import (
    Amount,
    Blocks,
    Bounds,
    Count,
    Fraction,
    ImportanceScores,
    Lamp,
    Magnitude,
    ObsScore,
    Random,
    Recipe,
    RelativeImportance,
    Rule,
    Scope,
    Score,
    Selector,
    Sparsity,
    WeightedMagnitude,
    check,
)
from tests.engine.packed import pack
from tests.engine.rules import recipe

HALF = Fraction(0.5)
TWO_BY_THREE = Blocks(2, 3)


def rule(score: Score, amount: Amount = HALF, granularity: Blocks = TWO_BY_THREE, input_dim: int | None = None) -> Rule:
    return Rule(score=score, amount=amount, granularity=granularity, input_dim=input_dim, select=Selector(("w",)))


def kept(weight: torch.Tensor, rule: Rule, **auxiliary: torch.Tensor) -> npt.NDArray[np.bool_]:
    state_dict = {"w": weight} | {f"w:{suffix}": tensor for suffix, tensor in auxiliary.items()}
    mask = prune_state_dict(state_dict, recipe(rule), output="masked").state_dict["w_mask"]
    assert isinstance(mask, torch.Tensor)
    return mask.numpy()


def expected(scores: npt.NDArray[np.float64], unpruned: npt.NDArray[np.bool_], part: float) -> npt.NDArray[np.bool_]:
    """The mask by sorting sums of blocks of 2 x 3."""
    rows, columns = scores.shape
    shape = rows // 2, 2, columns // 3, 3
    sums = np.where(unpruned, scores, 0).reshape(shape).sum(axis=(1, 3)).reshape(-1)
    candidates = np.flatnonzero(unpruned.reshape(shape).any(axis=(1, 3)).reshape(-1))
    order = candidates[np.argsort(sums[candidates], kind="stable")]
    flags = np.ones(sums.size, bool)
    flags[order[: round(part * len(order))]] = False
    blocks = np.repeat(np.repeat(flags.reshape(rows // 2, columns // 3), 2, axis=0), 3, axis=1)
    return blocks & unpruned


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn])
@pytest.mark.parametrize("has_prior", [False, True], ids=["", "prior mask"])
def test_blocks_of_least_sum_are_pruned(dtype: torch.dtype, has_prior: bool) -> None:
    random = np.random.default_rng(1)
    weight = torch.from_numpy(random.standard_normal((8, 15))).to(dtype)
    unpruned = np.ones((8, 15), bool)
    auxiliary = {}
    if has_prior:
        unpruned = random.random((8, 15)) < 0.4
        unpruned[:2, :3] = False
        auxiliary["mask_bits"] = pack(torch.from_numpy(unpruned))
    found = kept(weight, rule(Magnitude(), Fraction(0.3)), **auxiliary)
    np.testing.assert_array_equal(found, expected(weight.double().abs().numpy(), unpruned, 0.3))


@pytest.mark.parametrize(
    "score", [WeightedMagnitude(), RelativeImportance(), ImportanceScores()], ids=lambda each: each.field
)
def test_scores_of_entries_are_summed(score: Score) -> None:
    random = np.random.default_rng(2)
    weight, norms = random.standard_normal((6, 9)), random.random(9)
    magnitudes = np.abs(weight)
    ria = (magnitudes / magnitudes.sum(axis=0) + magnitudes / magnitudes.sum(axis=1, keepdims=True)) * np.sqrt(norms)
    given = random.random((6, 9))
    scores = {"weighted_magnitude": magnitudes * norms, "ria": ria, "importance_scores": given}[score.field]
    name, value = ("scores", given) if isinstance(score, ImportanceScores) else ("in_norm", norms)
    found = kept(torch.from_numpy(weight), rule(score), **{name: torch.from_numpy(value)})
    np.testing.assert_array_equal(found, expected(scores, np.ones((6, 9), bool), 0.5))


def test_rows_of_a_block_are_output_channels_wherever_they_are_stored() -> None:
    weight = torch.from_numpy(np.random.default_rng(3).standard_normal((9, 8)))  # (in, out)
    found = kept(weight, rule(Magnitude(), input_dim=0))
    np.testing.assert_array_equal(found.T, expected(weight.abs().numpy().T, np.ones((8, 9), bool), 0.5))


def test_random_blocks_are_drawn_once_each() -> None:
    found = kept(torch.ones(8, 9), rule(Random())).reshape(4, 2, 3, 3).transpose(0, 2, 1, 3).reshape(12, 6)
    assert (found.all(axis=1) | ~found.any(axis=1)).all()
    assert found.any(axis=1).sum() == 6


def test_blocks_of_all_tensors_compete_within_bounds() -> None:
    tensors = {f"{index}.weight": 10.0**index * torch.rand(8, 9) for index in range(3)}
    asked = Rule(score=Magnitude(), amount=Sparsity(0.5), granularity=TWO_BY_THREE, scope=Scope.GLOBAL)
    bounded = Rule(
        score=Magnitude(), amount=HALF, granularity=TWO_BY_THREE, scope=Scope.GLOBAL, bounds=Bounds(max_sparsity=0.75)
    )
    free, limited = (
        [tensor.sparsity for tensor in prune_state_dict(tensors, recipe(each)).report.tensors]
        for each in (asked, bounded)
    )
    assert (free, limited) == ([1.0, 0.5, 0.0], [0.75, 0.75, 0.0])


def test_the_number_of_threads_changes_nothing() -> None:
    weight, before, masks = torch.randn(200, 300), get_threads(), []
    try:
        for threads in (1, 2, 7):
            set_threads(threads)
            masks.append(kept(weight, rule(Magnitude())))
    finally:
        set_threads(before)
    assert all((mask == masks[0]).all() for mask in masks)


def test_nan_is_refused() -> None:
    with pytest.raises(CheckpointError) as caught:
        kept(torch.tensor([[1.0, 2, 3], [4, 5, torch.nan]]), rule(Magnitude()))
    assert caught.value.reason is Reason.NAN_WEIGHTS


def test_a_tensor_that_is_not_whole_blocks_is_refused() -> None:
    with pytest.raises(MismatchError, match="8 output channels and 10 input channels") as caught:
        kept(torch.ones(8, 10), rule(Magnitude()))
    assert (caught.value.reason, caught.value.field) == (Reason.SHAPE_MISMATCH, "rules[0].granularity.blocks")


def test_a_count_is_of_blocks() -> None:
    assert (~kept(torch.rand(8, 9), rule(Magnitude(), Count(5)))).sum() == 30
    with pytest.raises(MismatchError, match="only 12"):
        kept(torch.rand(8, 9), rule(Magnitude(), Count(13)))


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (rule(Magnitude(), granularity=Blocks(0, 4)), "granularity.blocks.rows"),
        (rule(Magnitude(), granularity=Blocks(4, 0)), "granularity.blocks.columns"),
        (rule(Lamp()), "score"),
        (rule(ObsScore()), "score"),
        (
            Rule(score=Magnitude(), amount=HALF, granularity=TWO_BY_THREE, scope=Scope.OUTPUT_CHANNEL),
            "scope",
        ),
        (rule(Magnitude(2.0)), "score.magnitude.norm"),
    ],
    ids=["rows", "columns", "lamp", "obs", "output channels", "norm"],
)
def test_what_makes_no_sense_is_refused(asked: Rule, field: str) -> None:
    with pytest.raises(RecipeError) as caught:
        check(Recipe((asked,)))
    assert caught.value.field == f"rules[0].{field}"
