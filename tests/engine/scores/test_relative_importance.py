"""RIA: |w| beside the sums of its row and column, times the norm of its input to a power."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from pruning_engine import CheckpointError, Reason, RecipeError, get_threads, prune_state_dict, set_threads
from pruning_engine.execution.executor import Pruning
from pruning_engine.execution.state_dict import spec_of
from pruning_engine.kernels.backend import Backend
from pruning_engine.kernels.cpu.backend import NumpyBackend
from pruning_engine.kernels.cuda.backend import TorchBackend
from pruning_engine.planning.planner import make_plan
from pruning_engine.recipe import (
    Channels,
    Fraction,
    NOfM,
    OutputForm,
    Recipe,
    RelativeImportance,
    Rule,
    Scope,
    check,
)
from tests.engine.buffers import received, results
from tests.engine.kernels.levels import COMPILED, compiled
from tests.engine.packed import pack, unpack
from tests.engine.rules import recipe

Array = npt.NDArray[np.float64]
HALF = Fraction(0.5)
BACKENDS = [NumpyBackend(64), *compiled(64), TorchBackend(torch.device("cpu")), TorchBackend(torch.device("cpu"), 64)]
NAMES = ["numpy in pieces", *COMPILED, "torch", "torch in pieces"]


def relative(matrix: Array, norms: Array, exponent: float) -> Array:
    """Equations 4 and 5, of a matrix (outputs, inputs)."""
    magnitudes = np.abs(matrix)
    with np.errstate(invalid="ignore"):
        found = magnitudes / magnitudes.sum(axis=0) + magnitudes / magnitudes.sum(axis=1, keepdims=True)
    product: Array = np.nan_to_num(found) * norms**exponent
    return product


def least_in_rows(scores: Array, kept: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    kept = kept.copy()
    for row, flags in zip(scores, kept, strict=True):
        unpruned = np.flatnonzero(flags)
        order = unpruned[np.argsort(row[unpruned], kind="stable")]
        flags[order[: round(len(order) / 2)]] = False
    return kept


def pruned(tensors: dict[str, torch.Tensor], rule: Rule, backend: Backend) -> npt.NDArray[np.bool_]:
    specs = [spec_of(name, tensor) for name, tensor in tensors.items()]
    plan = make_plan(Recipe((rule,), 1), specs, output=OutputForm.MASK)
    (state,) = Pruning(plan, in_place=False, backend=backend).add(received(plan.parameters[0], tensors))
    (bits,) = results([state]).values()
    return unpack(bits, next(iter(tensors.values()))).numpy()


@pytest.mark.parametrize("backend", BACKENDS, ids=NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("has_norms", [False, True], ids=["", "norms"])
def test_the_least_relative_importance_of_each_row_is_pruned(
    backend: Backend, dtype: torch.dtype, has_norms: bool
) -> None:
    random = np.random.default_rng(4)
    weight = torch.from_numpy(random.standard_normal((13, 37))).to(dtype)
    weight[5] = 0
    norms = random.random(37) * 9 if has_norms else np.ones(37)
    kept = random.random((13, 37)) < 0.8
    tensors = {"w.weight": weight, "w.weight:mask_bits": pack(torch.from_numpy(kept))}
    if has_norms:
        tensors["w.weight:in_sum2"] = torch.from_numpy(norms**2)
    rule = Rule(score=RelativeImportance(0.7), amount=HALF, input_dim=1)
    scores = relative(np.where(kept, weight.double().numpy(), 0.0), norms, 0.7)
    np.testing.assert_array_equal(pruned(tensors, rule, backend), least_in_rows(scores, kept))


@pytest.mark.parametrize("backend", BACKENDS, ids=NAMES)
def test_inputs_along_dim_0_are_those_of_the_transposed_matrix(backend: Backend) -> None:
    random = np.random.default_rng(5)
    weight, norms = random.standard_normal((19, 12)), random.random(19)
    tensors = {"c_fc.weight": torch.from_numpy(weight), "c_fc.weight:in_norm": torch.from_numpy(norms)}
    rule = Rule(score=RelativeImportance(), amount=HALF, input_dim=0)
    expected = least_in_rows(relative(weight.T, norms, 0.5), np.ones((12, 19), bool)).T
    np.testing.assert_array_equal(pruned(tensors, rule, backend), expected)


@pytest.mark.parametrize("input_dim", [1, 2])
@pytest.mark.parametrize("backend", BACKENDS, ids=NAMES)
def test_each_stacked_expert_is_a_matrix_of_its_own(backend: Backend, input_dim: int) -> None:
    random = np.random.default_rng(6)
    weight = random.standard_normal((3, 8, 10))
    norms = random.random((3, weight.shape[input_dim]))
    tensors = {"experts.up_proj": torch.from_numpy(weight), "experts.up_proj:in_sum2": torch.from_numpy(norms**2)}
    rule = Rule(score=RelativeImportance(), amount=HALF, input_dim=input_dim)
    found = pruned(tensors, rule, backend)
    for expert, each, own in zip(found, weight, norms, strict=True):
        matrix, mask = (each.T, expert.T) if input_dim == 1 else (each, expert)
        expected = least_in_rows(relative(matrix, own, 0.5), np.ones(matrix.shape, bool))
        np.testing.assert_array_equal(mask, expected)


def test_a_convolution_is_unfolded() -> None:
    random = np.random.default_rng(7)
    weight, norms = random.standard_normal((4, 3, 2, 2)), random.random(3)
    tensors = {"conv.weight": torch.from_numpy(weight), "conv.weight:in_norm": torch.from_numpy(norms)}
    rule = Rule(score=RelativeImportance(), amount=HALF, input_dim=1)
    expected = least_in_rows(relative(weight.reshape(4, 12), np.repeat(norms, 4), 0.5), np.ones((4, 12), bool))
    np.testing.assert_array_equal(pruned(tensors, rule, NumpyBackend()).reshape(4, 12), expected)


@pytest.mark.parametrize("scope", [Scope.LOCAL, Scope.GLOBAL])
def test_other_scopes_compare_the_whole_tensor(scope: Scope) -> None:
    weight = np.random.default_rng(8).standard_normal((6, 7))
    rule = Rule(score=RelativeImportance(), amount=HALF, scope=scope)
    scores = relative(weight, np.ones(7), 0.5).reshape(1, -1)
    expected = least_in_rows(scores, np.ones((1, 42), bool)).reshape(6, 7)
    found = pruned({"w.weight": torch.from_numpy(weight)}, rule, NumpyBackend())
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0)])
def test_a_tensor_without_entries_is_left_as_it_is(shape: tuple[int, int]) -> None:
    rule = Rule(score=RelativeImportance(), amount=HALF, input_dim=1)
    assert pruned({"w.weight": torch.ones(shape)}, rule, NumpyBackend()).shape == shape


def test_it_goes_with_n_of_m() -> None:
    weight = torch.randn(8, 16)
    result = prune_state_dict({"w.weight": weight}, recipe(Rule(score=RelativeImportance(), granularity=NOfM(2, 4))))
    left = result.state_dict["w.weight"]
    assert isinstance(left, torch.Tensor)
    assert (left.reshape(-1, 4) != 0).sum(dim=1).eq(2).all()


def test_the_number_of_threads_changes_nothing() -> None:
    weight, before, masks = torch.randn(300, 200, generator=torch.Generator().manual_seed(1)), get_threads(), []
    try:
        for threads in (1, 2, 7):
            set_threads(threads)
            rule = Rule(score=RelativeImportance(), amount=HALF, input_dim=1)
            masks.append(pruned({"w.weight": weight}, rule, NumpyBackend(256)))
    finally:
        set_threads(before)
    assert all((mask == masks[0]).all() for mask in masks)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(wrong: float) -> None:
    with pytest.raises(CheckpointError, match=r"w\.weight") as caught:
        pruned(
            {"w.weight": torch.tensor([[1.0, wrong]])},
            Rule(score=RelativeImportance(), amount=HALF, input_dim=1),
            NumpyBackend(),
        )
    assert caught.value.reason is Reason.NAN_WEIGHTS


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        (Rule(score=RelativeImportance(-1.0), amount=HALF), "score.ria.exponent"),
        (Rule(score=RelativeImportance(), amount=HALF, granularity=Channels()), "granularity"),
    ],
    ids=["exponent", "channels"],
)
def test_what_makes_no_sense_is_refused(rule: Rule, field: str) -> None:
    with pytest.raises(RecipeError) as caught:
        check(Recipe((rule,)))
    assert caught.value.field == f"rules[0].{field}"
