"""Units taken out for good: the smaller model computes what the one with zeros does, however its channels are tied."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from pruning_engine import get_threads, prune_state_dict, prune_state_dict_, set_threads
from pruning_engine.execution.executor import Pruning
from pruning_engine.execution.state_dict import spec_of
from pruning_engine.kernels.cpu.backend import NumpyBackend
from pruning_engine.kernels.cuda.backend import TorchBackend, selected
from pruning_engine.kernels.remaining import remaining
from pruning_engine.planning.planner import make_plan
from pruning_engine.recipe import (
    ChannelSlice,
    Count,
    Dead,
    Fraction,
    Magnitude,
    OutputForm,
    Random,
    Recipe,
    Rule,
    Scope,
    Score,
)
from pruning_engine.torch_tensors import to_buffer, to_tensor
from tests.engine.buffers import received, results
from tests.engine.packed import pack, unpack
from tests.engine.rules import l1
from tests.engine.tied import MLP, ONE, Tensors, group, mlp, prune_with, units


def loaded(module: nn.Module, state_dict: dict[str, object]) -> nn.Module:
    """Return a module with these tensors, whose sizes fit."""
    module.load_state_dict(state_dict)
    return module.eval()


def assert_same(large: nn.Module, small: nn.Module, *shape: int) -> None:
    inputs = torch.randn(*shape, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(small(inputs), large(inputs))


class Attention(nn.Module):
    """Self-attention with q, k and v in one weight, as GPT-NeoX and timm have it."""

    def __init__(self, width: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * heads * head_dim)
        self.out = nn.Linear(heads * head_dim, width)
        self.heads = heads

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        query, key, value = self.qkv(inputs).unflatten(-1, (3, self.heads, -1)).movedim(-3, 0).transpose(-2, -3)
        attended = nn.functional.scaled_dot_product_attention(query, key, value)
        return self.out(attended.transpose(-2, -3).flatten(-2))  # type: ignore[no-any-return]


def test_fused_query_key_and_value() -> None:
    torch.manual_seed(1)
    model = Attention(16, heads=4, head_dim=4)
    ties = [
        ChannelSlice(f"qkv.{kind}", offset=16 * part, inner=4, scored=kind == "weight")
        for part in range(3)
        for kind in ("weight", "bias")
    ]
    rule = units(group(*ties, ChannelSlice("out.weight", 1, inner=4), units=4))
    zeros, small = prune_with(model.state_dict(), rule), prune_with(model.state_dict(), rule, output="removed")
    assert small.state_dict["qkv.weight"].shape == (24, 16)  # type: ignore[attr-defined]
    assert_same(loaded(model, zeros.state_dict), loaded(Attention(16, heads=2, head_dim=4), small.state_dict), 2, 5, 16)


class FusedQueryKeyValueByHead(Attention):
    """The same with q, k and v of a head side by side, as BLOOM has it."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        query, key, value = self.qkv(inputs).unflatten(-1, (self.heads, 3, -1)).movedim(-2, 0).transpose(-2, -3)
        attended = nn.functional.scaled_dot_product_attention(query, key, value)
        return self.out(attended.transpose(-2, -3).flatten(-2))  # type: ignore[no-any-return]


def test_fused_query_key_and_value_head_by_head() -> None:
    torch.manual_seed(1)
    model = FusedQueryKeyValueByHead(16, heads=4, head_dim=4)
    rule = units(
        group(
            ChannelSlice("qkv.weight", inner=12),
            ChannelSlice("qkv.bias", inner=12),
            ChannelSlice("out.weight", 1, inner=4),
        )
    )
    zeros, small = prune_with(model.state_dict(), rule), prune_with(model.state_dict(), rule, output="removed")
    assert_same(
        loaded(model, zeros.state_dict),
        loaded(FusedQueryKeyValueByHead(16, heads=2, head_dim=4), small.state_dict),
        *(2, 5, 16),
    )


class GatedMlp(nn.Module):
    """An MLP with gate and up in one weight, as Phi-3 has it."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_up = nn.Linear(width, 2 * inner, bias=False)
        self.down = nn.Linear(inner, width)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        gate, up = self.gate_up(inputs).chunk(2, dim=-1)
        return self.down(nn.functional.silu(gate) * up)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "tied",
    [
        group(
            ChannelSlice("down.weight", 1), ChannelSlice("gate_up.weight"), ChannelSlice("gate_up.weight", offset=12)
        ),
        group(ChannelSlice("gate_up.weight", outer=2), ChannelSlice("down.weight", 1)),
        group(
            ChannelSlice("down.weight", 1),
            ChannelSlice("gate_up.weight", inner=2, indices=(*(i for u in range(12) for i in (u, 12 + u)),)),
        ),
    ],
    ids=["two ties", "outer", "indices"],
)
def test_fused_gate_and_up(tied: object) -> None:
    torch.manual_seed(1)
    model = GatedMlp(8, 12)
    rule = units(tied)  # type: ignore[arg-type]
    zeros, small = prune_with(model.state_dict(), rule), prune_with(model.state_dict(), rule, output="removed")
    assert_same(loaded(model, zeros.state_dict), loaded(GatedMlp(8, 6), small.state_dict), 3, 8)


def flattened(channels: int) -> nn.Module:
    layers = (nn.Conv2d(1, channels, 3), nn.BatchNorm2d(channels), nn.ReLU(), nn.Flatten(), nn.Linear(channels * 4, 5))
    return nn.Sequential(*layers)


def test_flattened_convolution_with_its_batch_normalization() -> None:
    torch.manual_seed(1)
    model = flattened(6)
    model(torch.randn(8, 1, 4, 4))  # which gives running statistics
    ties = ("0.weight:0", "0.bias:0", "1.weight:0", "1.bias:0", "1.running_mean:0", "1.running_var:0")
    rule = units(group(*ties, ChannelSlice("4.weight", 1, inner=4)))
    zeros, small = prune_with(model.state_dict(), rule), prune_with(model.state_dict(), rule, output="removed")
    assert_same(loaded(model, zeros.state_dict), loaded(flattened(3), small.state_dict), 2, 1, 4, 4)


def grouped(groups: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4 * groups, 1), nn.Conv2d(4 * groups, 6 * groups, 3, groups=groups), nn.Conv2d(6 * groups, 3, 1)
    )


def test_grouped_convolution_loses_whole_groups() -> None:
    torch.manual_seed(1)
    model = grouped(4)
    ties = [ChannelSlice(f"{at}.{kind}", inner=inner) for at, inner in ((0, 4), (1, 6)) for kind in ("weight", "bias")]
    rule = units(group(*ties, ChannelSlice("2.weight", 1, inner=6)))
    zeros, small = prune_with(model.state_dict(), rule), prune_with(model.state_dict(), rule, output="removed")
    assert small.state_dict["1.weight"].shape == (12, 4, 3, 3)  # type: ignore[attr-defined]
    assert_same(loaded(model, zeros.state_dict), loaded(grouped(2), small.state_dict), 2, 2, 5, 5)


def inside_groups(each: int) -> nn.Module:
    return nn.Sequential(nn.Conv1d(3, 2 * each, 1), nn.Conv1d(2 * each, 4, 1, groups=2))


def test_grouped_convolution_loses_the_same_inputs_in_every_group() -> None:
    torch.manual_seed(1)
    model = inside_groups(4)
    rule = units(group(ChannelSlice("1.weight", 1), ChannelSlice("0.weight", outer=2), ChannelSlice("0.bias", outer=2)))
    zeros, small = prune_with(model.state_dict(), rule), prune_with(model.state_dict(), rule, output="removed")
    assert_same(loaded(model, zeros.state_dict), loaded(inside_groups(2), small.state_dict), 2, 3, 5)


def depthwise(channels: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, channels, 1), nn.Conv2d(channels, channels, 3, groups=channels), nn.Conv2d(channels, 2, 1)
    )


def test_depthwise_convolution() -> None:
    torch.manual_seed(1)
    model = depthwise(8)
    rule = units(group("0.weight:0", "0.bias:0", "1.weight:0", "1.bias:0", "2.weight:1"))
    zeros, small = prune_with(model.state_dict(), rule), prune_with(model.state_dict(), rule, output="removed")
    assert_same(loaded(model, zeros.state_dict), loaded(depthwise(4), small.state_dict), 2, 3, 6, 6)


def chained(first: int, second: int) -> nn.Module:
    return nn.Sequential(nn.Linear(3, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU(), nn.Linear(second, 2))


@pytest.mark.parametrize("scope", [Scope.LOCAL, Scope.GLOBAL])
def test_a_tensor_may_lose_rows_by_one_group_and_columns_by_another(scope: Scope) -> None:
    torch.manual_seed(1)
    model = chained(6, 8)
    first, second = group("0.weight:0", "0.bias:0", "2.weight:1"), group("2.weight:0", "2.bias:0", "4.weight:1")
    rule = units(first, second, scope=scope)
    zeros, small = prune_with(model.state_dict(), rule), prune_with(model.state_dict(), rule, output="removed")
    widths = [len(found.kept) for found in small.report.groups]
    assert sum(widths) == 7
    assert_same(loaded(model, zeros.state_dict), loaded(chained(*widths), small.state_dict), 4, 3)


def test_what_else_was_pruned_is_zero_in_what_is_left() -> None:
    state_dict = {"w": torch.tensor([[6.0, 5], [3, 2], [4, 1]])}
    result = prune_with(state_dict, units(group("w:0"), amount=ONE), l1(Count(1), "w"), output="removed")
    assert torch.equal(result.state_dict["w"], torch.tensor([[6.0, 5], [4, 0]]))  # type: ignore[arg-type]


def test_names_and_order_stay_as_they_were() -> None:
    state_dict = mlp(1, 2) | {"other": torch.ones(3)}
    assert list(prune_with(state_dict, units(MLP), output="removed").state_dict) == list(state_dict)


def test_the_input_stays_as_it_was() -> None:
    state_dict = mlp(1, 2, 3)
    before = {name: tensor.clone() for name, tensor in state_dict.items()}
    prune_with(state_dict, units(MLP), output="removed")
    assert all(torch.equal(before[name], state_dict[name]) for name in before)


def test_nothing_is_lost_if_nothing_is_pruned() -> None:
    state_dict = mlp(1, 2)
    result = prune_with(state_dict, units(MLP, amount=Fraction(0.0)), output="removed")
    assert all(torch.equal(result.state_dict[name], state_dict[name]) for name in state_dict)  # type: ignore[arg-type]


def test_a_state_dict_is_no_place_for_what_is_smaller() -> None:
    state_dict = mlp(1, 2, 3, 4)
    prune_state_dict_(state_dict, Recipe((units(MLP), l1(Fraction(0.25), "down.weight")), 1), output="removed")
    assert all(torch.equal(state_dict[name], tensor) for name, tensor in mlp(1, 2, 3, 4).items())


@pytest.mark.parametrize("shape", [(1 << 11, 1500), (7, 2000, 300), (1 << 21, 3), (3, 3, (1 << 20) + 5)], ids=str)
@pytest.mark.parametrize("dim", [0, 1, 2])
def test_what_is_left_moves_to_the_front_of_its_own_memory(shape: tuple[int, ...], dim: int) -> None:
    dim %= len(shape)
    weight = torch.randint(0, 1 << 30, shape, dtype=torch.int32)
    positions = np.flatnonzero(np.random.default_rng(1).random(shape[dim]) < 0.6)
    expected = weight.index_select(dim, torch.from_numpy(positions))
    place = weight.data_ptr()
    moved = to_tensor(NumpyBackend().take(to_buffer(weight), dim, positions, in_place=True))
    assert moved.data_ptr() == place
    assert torch.equal(moved, expected)


def test_a_prior_mask_is_folded_and_sliced() -> None:
    weight = torch.tensor([[1.0, 5], [3, 2], [4, 1]])
    mask = torch.tensor([[1.0, 0], [1, 1], [1, 1]])
    result = prune_with({"w_orig": weight, "w_mask": mask}, units(group("w:0"), amount=ONE), output="removed")
    assert torch.equal(result.state_dict["w"], torch.tensor([[3.0, 2], [4, 1]]))  # type: ignore[arg-type]


def test_zeros_now_and_removal_later() -> None:
    masks = prune_with(mlp(3, 1, 4, 2), units(MLP), output="mask").state_dict
    later = prune_with(
        {**mlp(3, 1, 4, 2), **masks},  # type: ignore[dict-item]
        units(MLP, amount=None, score=Dead()),
        output="removed",
    )
    at_once = prune_with(mlp(3, 1, 4, 2), units(MLP), output="removed")
    assert all(torch.equal(later.state_dict[name], at_once.state_dict[name]) for name in at_once.state_dict)  # type: ignore[arg-type]


def test_formats_agree_on_what_is_pruned() -> None:
    state_dict = mlp(3, 1, 4, 2)
    masked = prune_with(state_dict, units(MLP), output="masked").state_dict
    bits = prune_with(state_dict, units(MLP), output="mask").state_dict
    assert torch.equal(masked["up.bias_mask"], torch.tensor([True, False, True, False]))  # type: ignore[arg-type]
    assert torch.equal(unpack(bits["down.weight:mask_bits"], state_dict["down.weight"])[0], masked["up.bias_mask"])  # type: ignore[arg-type]


def test_tied_parameters_stay_tied_and_a_slice_may_name_either() -> None:
    shared = torch.tensor([[1.0, 0], [2, 0]])
    state_dict = {"encoder.weight": shared, "decoder.weight": shared, "bias": torch.ones(2)}
    result = prune_with(state_dict, units(group("decoder.weight:0", "bias:0")), output="removed").state_dict
    assert result["encoder.weight"] is result["decoder.weight"]
    assert torch.equal(result["encoder.weight"], shared[1:])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2, torch.int8]
)
def test_every_dtype_that_can_be_pruned(dtype: torch.dtype) -> None:
    state_dict = {"w": torch.tensor([[1.0, 2], [3, 4], [5, 6]]).to(dtype)}
    result = prune_with(
        state_dict, units(group(ChannelSlice("w", scored=True)), amount=ONE), output="removed"
    ).state_dict["w"]
    assert isinstance(result, torch.Tensor)
    assert torch.equal(result.to(torch.float32), torch.tensor([[3.0, 4], [5, 6]]))


def test_layouts_other_than_contiguous() -> None:
    weight = torch.randn(4, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    result = prune_with({"w": weight}, units(group("w:1"), amount=ONE), output="removed")
    (found,) = result.report.groups
    assert torch.equal(result.state_dict["w"], weight[:, list(found.kept)])  # type: ignore[arg-type]


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = get_threads()
    set_threads(3)
    yield
    set_threads(before)


@pytest.mark.parametrize("dim", [0, 1, 2])
@pytest.mark.usefixtures("three_threads")
def test_large_tensors_go_in_pieces(dim: int) -> None:
    weight = torch.randn(8, 4000, 75)
    rule = units(group(f"w:{dim}"), amount=Fraction(0.4), score=Magnitude(1.0))
    result = prune_with({"w": weight}, rule, output="removed")
    (found,) = result.report.groups
    expected = weight.index_select(dim, torch.tensor(found.kept))
    assert torch.equal(result.state_dict["w"], expected)  # type: ignore[arg-type]


def test_entries_taken_out_count_as_pruned() -> None:
    report = prune_with(mlp(1, 2, 3, 4), units(MLP), output="removed").report
    assert (report.entries, report.pruned) == (20, 10)


def test_format_report_has_the_same_groups() -> None:
    rule = units(MLP)
    assert prune_with(mlp(1, 2), rule, output="report").report.groups == prune_with(mlp(1, 2), rule).report.groups


def test_a_mask_of_one_tensor_alone_takes_no_unit_out() -> None:
    bits = pack(torch.tensor([[False, False], [True, True]]))
    state_dict = {**mlp(1, 2), "up.weight:mask_bits": bits}
    rule: Rule = units(MLP, amount=None, score=Dead())
    result: Tensors = prune_with(state_dict, rule, output="removed").state_dict  # type: ignore[assignment]
    assert result["up.weight"].shape == (2, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e4m3fn, torch.int64])
def test_the_torch_operations_of_other_devices_take_the_same_positions(dtype: torch.dtype) -> None:
    weight = torch.randn(4, 6, 2).to(dtype)
    taken = selected(weight, 1, np.array([1, 4]))
    assert taken.dtype is dtype
    assert torch.equal(taken.to(torch.float32), weight[:, (1, 4)].to(torch.float32))


@pytest.mark.parametrize("score", [Magnitude(), Random(), Dead()], ids=["magnitude", "random", "dead"])
def test_the_backend_of_other_devices_gives_the_same(score: Score) -> None:
    state_dict = {"a": torch.randn(20, 6), "b": torch.randn(3, 20, 2)}
    state_dict["a"][3] = state_dict["b"][:, 3] = 0
    amount = None if isinstance(score, Dead) else Fraction(0.3)
    recipe = Recipe((l1(Fraction(0.2), "a"), units(group("a:0", "b:1"), score=score, amount=amount)), 1)
    specs = [spec_of(name, tensor) for name, tensor in state_dict.items()]
    plan = make_plan(recipe, specs, output=OutputForm.REMOVED)
    pruning = Pruning(plan, in_place=False, backend=TorchBackend(torch.device("cpu")))
    found = results(pruning.add_all([received(planned, state_dict) for planned in plan.parameters]))
    expected = prune_state_dict(state_dict, recipe, output="removed")
    assert pruning.report().groups == expected.report.groups
    assert all(torch.equal(found[name], expected.state_dict[name]) for name in found)  # type: ignore[arg-type]


def test_what_is_not_contiguous_is_copied_and_not_moved() -> None:
    weight = torch.randn(2, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    left = remaining(NumpyBackend(), to_buffer(weight), {1: np.array([True, False, True])}, in_place=True)
    assert torch.equal(to_tensor(left), weight[:, (0, 2)])


def test_a_stream_needs_no_memory_for_a_second_model() -> None:
    state_dict = mlp(1, 2, 3, 4)
    recipe = Recipe((units(MLP), l1(Fraction(0.1), "up.weight")), 1)
    plan = make_plan(recipe, [spec_of(*each) for each in state_dict.items()], output=OutputForm.REMOVED)
    pruning = Pruning(plan, in_place=True)
    found = results(pruning.add_all([received(planned, state_dict) for planned in plan.parameters]))
    expected = prune_state_dict(mlp(1, 2, 3, 4), recipe, output="removed").state_dict
    for name, tensor in found.items():
        assert tensor.data_ptr() == state_dict[name].data_ptr()
        assert torch.equal(tensor, expected[name])  # type: ignore[arg-type]


@pytest.mark.parametrize(("scope", "models"), [(Scope.LOCAL, 1), (Scope.GLOBAL, 8)])
def test_a_group_of_local_scope_leaves_when_it_is_complete(scope: Scope, models: int) -> None:
    tensors = [spec_of(f"{at}.{name}", tensor) for at in range(8) for name, tensor in mlp(*range(999)).items()]
    plan = make_plan(Recipe((units(group(*MLP.ties, for_each="*"), scope=scope),), 1), tensors)
    one = sum(tensor.nbytes for tensor in tensors) / 8
    assert models * one < plan.peak_bytes < models * one + 200 * 999 * 8


def test_format_removed_may_be_given_as_a_word() -> None:
    assert OutputForm("removed") is OutputForm.REMOVED
