"""FP8 weights are ranked by code times scale; their scales leave as they came."""

from dataclasses import replace
from math import inf

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pruning_engine import CheckpointError, MismatchError, OutputForm, Reason, prune_state_dict
from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.execution.executor import Pruning
from pruning_engine.execution.state_dict import spec_of
from pruning_engine.kernels.backend import Backend
from pruning_engine.kernels.cpu.backend import NumpyBackend
from pruning_engine.kernels.cuda.backend import TorchBackend
from pruning_engine.planning.planner import make_plan
from pruning_engine.recipe import (
    Channels,
    ChannelSlice,
    Dead,
    Entries,
    Fraction,
    Granularity,
    ImportanceScores,
    Magnitude,
    NamedNorm,
    NOfM,
    Norm,
    Random,
    Rule,
    Scope,
    Selector,
    WeightedMagnitude,
)
from tests.engine import oracle
from tests.engine.buffers import received, results
from tests.engine.kernels.levels import COMPILED, compiled
from tests.engine.packed import unpack
from tests.engine.rules import recipe
from tests.engine.scaled import Tensors, best_half, random_codes, random_scale, values
from tests.engine.tied import group, units

HALF = Fraction(0.5)
BACKENDS: dict[str, Backend] = {
    "numpy": NumpyBackend(),
    "numpy in small pieces": NumpyBackend(8),
    "torch": TorchBackend("cpu"),
    "torch in small pieces": TorchBackend("cpu", 8),
    **dict(zip(COMPILED, compiled(), strict=True)),
}
EVERY_BACKEND = pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS)
ALL = Selector(("*weight",))
L1 = Rule(score=Magnitude(), amount=HALF, select=ALL)

# The shapes of the codes, of their scale, and of the block that each number of it is for.
BLOCKS = {
    "a tensor": ((12, 20), (1,), (12, 20)),
    "a tensor, no dims": ((12, 20), (), (12, 20)),
    "channels": ((12, 20), (12, 1), (1, 20)),
    "channels, one dim": ((12, 20), (12,), (1, 20)),
    "input channels": ((12, 20), (1, 20), (12, 1)),
    "blocks": ((16, 24), (4, 3), (4, 8)),
    "blocks cut short": ((18, 21), (5, 3), (4, 8)),
    "parts of rows": ((5, 24), (5, 6), (1, 4)),
    "blocks of experts": ((3, 10, 12), (3, 3, 2), (1, 4, 8)),
    "experts": ((3, 4, 6), (3, 1, 1), (1, 4, 6)),
    "channels of experts": ((3, 4, 6), (3, 4), (1, 1, 6)),
    "channels of a convolution": ((4, 3, 2, 2), (4, 1, 1, 1), (1, 3, 2, 2)),
}
EVERY_BLOCK = pytest.mark.parametrize("name", BLOCKS)


def scaled(name: str, dtype: torch.dtype = torch.float8_e4m3fn) -> tuple[Tensors, torch.Tensor]:
    """Return a weight and its scale, and the weight's values."""
    shape, scale_shape, block = BLOCKS[name]
    codes, scale = random_codes(*shape, dtype=dtype), random_scale(*scale_shape)
    return {"weight": codes, "weight_scale_inv": scale}, values(codes, scale, block)


def masks(tensors: Tensors, rule: Rule, backend: Backend) -> Tensors:
    """Return the mask of each selected weight."""
    plan = make_plan(recipe(rule), [spec_of(*item) for item in tensors.items()], output=OutputForm.MASK)
    pruning = Pruning(plan, in_place=False, backend=backend)
    states = [state for planned in plan.parameters for state in pruning.add(received(planned, tensors))]
    return {
        name.removesuffix(":mask_bits"): unpack(bits, tensors[name.removesuffix(":mask_bits")])
        for name, bits in results(states).items()
    }


@EVERY_BACKEND
@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
@EVERY_BLOCK
def test_entries_rank_by_code_times_scale(name: str, dtype: torch.dtype, backend: Backend) -> None:
    tensors, real = scaled(name, dtype)
    assert torch.equal(masks(tensors, L1, backend)["weight"], best_half({"weight": real})["weight"])


@EVERY_BACKEND
@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("norm", [None, 0.0, 0.5, 1.0, 3.0, 1.5, inf, -inf])
@pytest.mark.parametrize("name", ["a tensor", "blocks cut short", "blocks of experts"])
def test_channels_rank_by_norms_of_values(name: str, norm: Norm | None, dim: int, backend: Backend) -> None:
    tensors, real = scaled(name)
    rule = Rule(score=Magnitude(norm), amount=HALF, granularity=Channels(dim), select=ALL)
    assert torch.equal(masks(tensors, rule, backend)["weight"], oracle.prune({"weight": real}, [rule], 1)["weight"])


def test_nuclear_norms_are_of_values() -> None:
    tensors, real = scaled("blocks of experts")
    rule = Rule(score=Magnitude(NamedNorm.NUC), amount=HALF, granularity=Channels(), select=ALL)
    found = masks(tensors, rule, BACKENDS["numpy"])["weight"]
    assert torch.equal(found, oracle.prune({"weight": real}, [rule], 1)["weight"])


@EVERY_BACKEND
@pytest.mark.parametrize("granularity", [Entries(), Channels()], ids=["entries", "channels"])
def test_scaled_and_plain_tensors_compete_by_value(granularity: Granularity, backend: Backend) -> None:
    tensors, real = scaled("blocks")
    others = {f"{name}.weight": torch.randn(8, 8).to(getattr(torch, name)) for name in ("bfloat16", "float32")}
    rule = Rule(score=Magnitude(), amount=HALF, scope=Scope.GLOBAL, select=ALL, granularity=granularity)
    found = masks({**tensors, **others}, rule, backend)
    expected = oracle.prune({"weight": real, **others}, [rule], 1)
    assert all(torch.equal(found[name], mask) for name, mask in expected.items())


@EVERY_BACKEND
@pytest.mark.parametrize("dim", [0, 1])
def test_weighted_magnitude_multiplies_values(dim: int, backend: Backend) -> None:
    tensors, real = scaled("blocks cut short")
    norms = torch.rand(real.shape[dim])
    rule = Rule(score=WeightedMagnitude(dim), amount=HALF, select=ALL)
    products = real.abs() * norms.to(torch.float64).reshape((-1, 1) if dim == 0 else (1, -1))
    columns = products if dim == 1 else products.T
    cuts = columns.sort(dim=1).values[:, round(columns.shape[1] / 2) - 1 :][:, :1]
    found = masks({**tensors, "weight:in_norm": norms}, rule, backend)["weight"]
    assert torch.equal(found if dim == 1 else found.T, columns > cuts)


@EVERY_BACKEND
def test_two_of_four_are_kept_by_value(backend: Backend) -> None:
    tensors, real = scaled("input channels")
    found = masks(tensors, Rule(score=Magnitude(), granularity=NOfM(2, 4), select=ALL), backend)["weight"]
    groups, kept = real.abs().reshape(-1, 4), found.reshape(-1, 4)
    ranks = groups.argsort(dim=1, stable=True).argsort(dim=1, stable=True)
    assert torch.equal(kept, ranks >= 2)


@EVERY_BACKEND
def test_coupled_channels_rank_by_values(backend: Backend) -> None:
    tensors, real = scaled("blocks")
    rule = units(group("weight:1"), amount=HALF)
    plain = masks({"weight": real}, rule, backend)
    assert torch.equal(masks(tensors, rule, backend)["weight"], plain["weight"])


@st.composite
def blocked(draw: st.DrawFn) -> tuple[Tensors, torch.Tensor]:
    shape = tuple(draw(st.lists(st.integers(1, 20), min_size=1, max_size=3)))
    block = tuple(draw(st.sampled_from([size, *(1 << bits for bits in range(size.bit_length()))])) for size in shape)
    counts = [-(-size // each) for size, each in zip(shape, block, strict=True)]
    seed = draw(st.integers(0, 1000))
    codes, scale = random_codes(*shape, seed=seed), random_scale(*counts, seed=seed)
    return {"weight": codes, "weight_scale": scale}, values(codes, scale, block)


@EVERY_BACKEND
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
@given(case=blocked())
def test_blocks_are_deduced_from_shapes(backend: Backend, case: tuple[Tensors, torch.Tensor]) -> None:
    tensors, real = case
    rule = replace(L1, select=Selector(("weight",)))  # in full: it may have one dim
    assert torch.equal(masks(tensors, rule, backend)["weight"], best_half({"weight": real})["weight"])


def test_threshold_is_a_value_not_a_code() -> None:
    tensors = {"weight": torch.tensor([[1.0, 2.0]]).to(torch.float8_e4m3fn), "weight_scale": torch.tensor([0.25])}
    (report,) = prune_state_dict(tensors, recipe(L1)).report.tensors
    assert report.threshold == 0.25


@pytest.mark.parametrize("output", ["pruned", "masked"])
def test_result_stays_fp8_and_keeps_its_scale(output: str) -> None:
    tensors, _ = scaled("blocks")
    found = prune_state_dict(tensors, recipe(L1), output=output).state_dict
    weight = found["weight" if output == "pruned" else "weight_orig"]
    assert isinstance(weight, torch.Tensor)
    assert weight.dtype is torch.float8_e4m3fn
    assert found["weight_scale_inv"] is tensors["weight_scale_inv"]


def test_mask_has_no_scale() -> None:
    found = prune_state_dict(scaled("blocks")[0], recipe(L1), output="mask")
    assert list(found.state_dict) == ["weight:mask_bits"]


def test_scale_is_not_pruned_by_a_pattern() -> None:
    tensors, _ = scaled("channels")
    found = prune_state_dict(tensors, recipe(Rule(score=Magnitude(), amount=HALF, select=Selector(("*",)))))
    assert [report.name for report in found.report.tensors] == ["weight"]


@pytest.mark.parametrize("pattern", ["*scale_inv", "weight_scale_inv"])
def test_scales_may_be_excluded_but_not_included(pattern: str) -> None:
    tensors, _ = scaled("channels")
    assert prune_state_dict(tensors, recipe(replace(L1, select=Selector(("*weight",), (pattern,)))))
    with pytest.raises(MismatchError, match="a scale is never pruned itself") as caught:
        prune_state_dict(tensors, recipe(replace(L1, select=Selector(("*weight", pattern)))))
    assert caught.value.reason is Reason.SELECTS_NOTHING


def test_masked_pair_has_the_scale_of_its_weight() -> None:
    tensors, real = scaled("blocks")
    prior = real.abs() > real.abs().median()
    pair = {"weight_orig": tensors["weight"], "weight_mask": prior, "weight_scale_inv": tensors["weight_scale_inv"]}
    found = prune_state_dict(pair, recipe(L1)).state_dict["weight"]
    cut = real.abs()[prior].median()
    assert isinstance(found, torch.Tensor)
    assert torch.equal(found.to(torch.float32) != 0, real.abs() > cut)


def test_tied_weights_stay_tied_and_keep_both_scales() -> None:
    tensors, _ = scaled("blocks")
    codes, scale = tensors["weight"], tensors["weight_scale_inv"]
    tied = {"a.weight": codes, "a.weight_scale_inv": scale, "b.weight": codes, "b.weight_scale_inv": scale}
    found = prune_state_dict(tied, recipe(L1)).state_dict
    assert list(found) == list(tied)
    assert found["b.weight"] is found["a.weight"]
    assert found["b.weight_scale_inv"] is scale


@pytest.mark.parametrize("scale", ["w.scale_weight", "w.qscale_weight", "w.scale"])
def test_scale_is_found_beside_its_weight(scale: str) -> None:
    codes = torch.tensor([[1.0, 2.0], [1.0, 2.0]]).to(torch.float8_e4m3fn)
    found = masks({"w.weight": codes, scale: torch.tensor([[1.0], [8.0]])}, L1, BACKENDS["numpy"])["w.weight"]
    assert found.tolist() == [[False, False], [True, True]]


def test_codes_without_any_scale_rank_as_they_are() -> None:
    codes = random_codes(6, 6)
    found = masks({"weight": codes}, L1, BACKENDS["numpy"])["weight"]
    assert torch.equal(found, best_half({"weight": codes.to(torch.float64)})["weight"])


def test_scales_of_powers_of_two_may_be_e8m0() -> None:
    codes = torch.tensor([[1.0, 2.0], [1.0, 2.0]]).to(torch.float8_e4m3fn)
    scale = torch.tensor([[1.0], [8.0]]).to(torch.float8_e8m0fnu)
    assert masks({"weight": codes, "weight_scale": scale}, L1, BACKENDS["numpy"])["weight"][0].tolist() == [False] * 2


@EVERY_BACKEND
@pytest.mark.parametrize("wrong", [float("nan"), inf, -1.0])
def test_scales_that_are_not_finite_are_refused(wrong: float, backend: Backend) -> None:
    tensors = {"weight": random_codes(2, 4), "weight_scale": torch.tensor([[1.0], [wrong]])}
    with pytest.raises(CheckpointError, match=r"'weight_scale' holds .* at position 1") as caught:
        masks(tensors, L1, backend)
    assert caught.value.reason is Reason.INVALID_AUXILIARY


@pytest.mark.parametrize(
    ("shape", "dtype", "reason"),
    [
        ((3,), "F32", Reason.SHAPE_MISMATCH),
        ((5, 1), "F32", Reason.SHAPE_MISMATCH),
        ((8, 8, 1), "F32", Reason.SHAPE_MISMATCH),
        ((8, 1), "F64", Reason.UNPRUNABLE_DTYPE),
    ],
    ids=["parts of a fused weight", "no blocks", "too many dims", "fp64"],
)
def test_scale_that_does_not_fit_is_refused(shape: tuple[int, ...], dtype: str, reason: Reason) -> None:
    specs = [TensorSpec("weight", "F8_E4M3", (8, 8)), TensorSpec("weight_scale", dtype, shape)]
    with pytest.raises(MismatchError, match="'weight_scale'") as caught:
        make_plan(recipe(L1), specs)
    assert caught.value.reason is reason
    assert make_plan(recipe(Rule(score=Random(), amount=HALF, select=ALL)), specs)


def test_two_scales_of_one_weight_are_refused() -> None:
    tensors, _ = scaled("blocks")
    with pytest.raises(MismatchError, match="two scales, 'weight_scale_inv' and 'weight_scale'"):
        prune_state_dict({**tensors, "weight_scale": torch.ones(1)}, recipe(L1))


def test_weight_that_lacks_its_scale_is_refused() -> None:
    tensors, _ = scaled("blocks")
    others = {"other.weight": random_codes(4, 4)}
    with pytest.raises(MismatchError, match=r"'other\.weight', an FP8 weight without a scale") as caught:
        prune_state_dict({**tensors, **others}, recipe(L1))
    assert caught.value.reason is Reason.MISSING_COMPANION
    named = Rule(score=Magnitude(), amount=HALF, select=Selector(("other.weight",)))
    assert prune_state_dict({**tensors, **others}, recipe(named))


def test_own_scores_need_no_scale() -> None:
    specs = [TensorSpec("weight", "F8_E4M3", (8, 8)), TensorSpec("weight_scale", "F32", (3, 3))]
    scores = TensorSpec("weight:scores", "F32", (8, 8))
    assert make_plan(recipe(Rule(score=ImportanceScores(), amount=HALF, select=ALL)), [*specs, scores])


def test_scales_and_their_numbers_are_part_of_the_plan() -> None:
    specs = [TensorSpec("weight", "F8_E4M3", (256, 256)), TensorSpec("weight_scale_inv", "F32", (2, 2))]
    plan = make_plan(recipe(L1), specs)
    assert [result.name for result in plan.results] == ["weight", "weight_scale_inv"]
    assert plan.peak_bytes == 256 * 256 + 4 * 4 + 256 * 256 // 8 + 8 * 4


# Removed channels


def test_scales_of_channels_are_cut_with_them() -> None:
    tensors, _ = scaled("channels")
    found = prune_state_dict(tensors, recipe(units(group("weight:0"), amount=HALF)), output="removed")
    kept = list(found.report.groups[0].kept)
    assert torch.equal(found.state_dict["weight_scale_inv"], tensors["weight_scale_inv"][kept])  # type: ignore[arg-type]
    left = found.state_dict["weight"]
    assert isinstance(left, torch.Tensor)
    assert torch.equal(left.to(torch.float32), tensors["weight"].to(torch.float32)[kept])


def test_scales_along_another_dim_stay() -> None:
    tensors, _ = scaled("channels")
    found = prune_state_dict(tensors, recipe(units(group("weight:1"), amount=HALF)), output="removed").state_dict
    assert torch.equal(found["weight_scale_inv"], tensors["weight_scale_inv"])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["blocks", "blocks cut short"])
def test_scales_of_whole_blocks_are_cut_with_them(name: str) -> None:
    tensors, real = scaled(name)
    rule = units(group(ChannelSlice("weight", 0, inner=4), units=4), amount=HALF)
    found = prune_state_dict(tensors, recipe(rule), output="removed")
    rows = torch.cat([torch.arange(4) + 4 * number for number in found.report.groups[0].kept])
    left, scale = found.state_dict["weight"], found.state_dict["weight_scale_inv"]
    assert isinstance(left, torch.Tensor)
    assert isinstance(scale, torch.Tensor)
    tail = real[16:]
    assert torch.equal(values(left, scale, (4, 8)), torch.cat([real[rows], tail]))


@pytest.mark.parametrize(
    ("tie", "number"),
    [
        (ChannelSlice("weight", 0), 16),
        (ChannelSlice("weight", 0, inner=4, offset=2), 3),
        (ChannelSlice("weight", 0, inner=4, indices=(0, 1, 2, 3, 5, 6, 7, 8)), 2),
    ],
    ids=["single channels", "not from a block's begin", "indices"],
)
def test_parts_of_blocks_are_not_removed(tie: ChannelSlice, number: int) -> None:
    tensors, _ = scaled("blocks")
    rule = units(group(tie, units=number), amount=HALF)
    with pytest.raises(MismatchError, match="tensor 'weight' has one scale for every 4 positions of dim 0") as caught:
        prune_state_dict(tensors, recipe(rule), output="removed")
    assert caught.value.reason is Reason.TIE_MISFIT
    assert prune_state_dict(tensors, recipe(rule), output="pruned")


def test_dead_channels_of_blocks_are_not_removed() -> None:
    tensors, _ = scaled("blocks")
    with pytest.raises(MismatchError, match="its scales cannot follow"):
        prune_state_dict(tensors, recipe(units(group("weight:0"), amount=None, score=Dead())), output="removed")
