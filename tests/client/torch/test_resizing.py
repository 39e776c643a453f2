"""Smaller tensors into a model that was built at its old size: what is resized, what is kept, and what is refused."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import prune

from pruning_client import Client, rules
from pruning_client.errors import MismatchError
from pruning_client.torch import load_pruned
from tests.servers import ServerProcess

KEPT = [0, 2]
GPT2_LINEAR = transformers.pytorch_utils.Conv1D(6, 4)  # type: ignore[no-untyped-call]


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """Return copies of a module's tensors."""
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def cut(tensors: dict[str, Tensor], *names: str, dim: int = 0, kept: list[int] = KEPT) -> None:
    """Keep only some positions of one dim."""
    for name in names:
        tensors[name] = tensors[name].index_select(dim, torch.tensor(kept))


def is_equal(before: dict[str, Tensor], model: nn.Module) -> bool:
    after = model.state_dict()
    return before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def convolutions() -> nn.Sequential:
    """A convolution of 4 channels, normalized, one of each channel for itself, and a layer over what is flattened."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, groups=4), nn.Flatten(), nn.Linear(16, 3)
    )


def without_channels(model: nn.Module, kept: list[int] = KEPT) -> dict[str, Tensor]:
    """Take the channels of `convolutions` out, by hand."""
    tensors = state_of(model)
    cut(tensors, "0.weight", "0.bias", "2.weight", "2.bias", kept=kept)
    cut(tensors, "1.weight", "1.bias", "1.running_mean", "1.running_var", kept=kept)
    cut(tensors, "4.weight", dim=1, kept=[4 * channel + place for channel in kept for place in range(4)])
    return tensors


def test_modules_are_resized_and_compute_with_what_was_loaded() -> None:
    model = convolutions()
    tensors = without_channels(model)
    fresh = convolutions()
    assert load_pruned(fresh, tensors).missing_keys == ()
    zeroed = state_of(model)
    for name in ("0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias"):
        zeroed[name][[1, 3]] = 0
    model.load_state_dict(zeroed)
    images = torch.rand(2, 1, 6, 6)
    assert torch.allclose(fresh.eval()(images), model.eval()(images), atol=1e-6)


def test_modules_know_their_new_sizes() -> None:
    fresh = convolutions()
    load_pruned(fresh, without_channels(fresh))
    assert "Conv2d(1, 2, kernel_size=(3, 3)" in repr(fresh[0])
    assert "BatchNorm2d(2," in repr(fresh[1])
    assert "Conv2d(2, 2, kernel_size=(3, 3), stride=(1, 1), groups=2)" in repr(fresh[2])
    assert "Linear(in_features=8, out_features=3" in repr(fresh[4])


@pytest.mark.parametrize(
    ("module", "shapes"),
    [
        pytest.param(nn.Linear(4, 3, bias=False), {"weight": (2, 2)}, id="Linear without bias"),
        pytest.param(nn.Conv1d(4, 6, 3), {"weight": (2, 3, 3), "bias": (2,)}, id="Conv1d"),
        pytest.param(nn.Conv3d(4, 6, 1), {"weight": (2, 3, 1, 1, 1), "bias": (2,)}, id="Conv3d"),
        pytest.param(nn.Conv2d(4, 8, 1, groups=4), {"weight": (4, 1, 1, 1), "bias": (4,)}, id="two of each channel"),
        pytest.param(nn.LayerNorm(4), {"weight": (2,), "bias": (2,)}, id="LayerNorm"),
        pytest.param(nn.LayerNorm((3, 4), bias=False), {"weight": (3, 2)}, id="LayerNorm of two dims"),
        pytest.param(nn.RMSNorm(4), {"weight": (2,)}, id="RMSNorm"),
        pytest.param(nn.Embedding(5, 4), {"weight": (5, 2)}, id="Embedding"),
        pytest.param(
            nn.BatchNorm1d(4, affine=False), {"running_mean": (2,), "running_var": (2,)}, id="only statistics"
        ),
        pytest.param(nn.ConvTranspose2d(4, 6, 3), {"weight": (2, 3, 3, 3), "bias": (3,)}, id="ConvTranspose2d"),
        pytest.param(nn.PReLU(4), {"weight": (2,)}, id="PReLU"),
        pytest.param(nn.GroupNorm(1, 4), {"weight": (2,), "bias": (2,)}, id="GroupNorm of one group"),
        pytest.param(nn.GroupNorm(4, 4), {"weight": (3,), "bias": (3,)}, id="GroupNorm of each channel"),
        pytest.param(nn.InstanceNorm1d(4, affine=True), {"weight": (2,), "bias": (2,)}, id="InstanceNorm"),
        pytest.param(GPT2_LINEAR, {"weight": (2, 3), "bias": (3,)}, id="Conv1D"),
    ],
)
def test_modules_that_can_be_resized(module: nn.Module, shapes: dict[str, tuple[int, ...]]) -> None:
    tensors = state_of(module) | {name: torch.rand(shape) for name, shape in shapes.items()}
    load_pruned(module, tensors)
    assert is_equal(tensors, module)


@pytest.mark.parametrize(
    ("weight", "groups", "expected"),
    [
        pytest.param((8, 1, 1), {}, 4, id="inputs of each group"),
        pytest.param((6, 2, 1), {}, 3, id="a whole group"),
        pytest.param((4, 2, 1), {"conv": 2}, 2, id="whole groups, as told"),
        pytest.param((4, 2, 1), {"conv": 4}, 4, id="outputs of each group, as told"),
    ],
)
def test_groups_of_a_convolution_follow(weight: tuple[int, ...], groups: dict[str, int], expected: int) -> None:
    model = nn.ModuleDict({"conv": nn.Conv1d(8, 8, 1, groups=4, bias=False)})
    load_pruned(model, {"conv.weight": torch.rand(weight)}, groups=groups)
    conv: Any = model["conv"]
    assert (conv.groups, conv.in_channels) == (expected, weight[1] * expected)
    assert conv(torch.rand(1, conv.in_channels, 5)).shape[1] == weight[0]


@pytest.mark.parametrize(
    ("old", "new", "shape"),
    [
        pytest.param(nn.LSTM(3, 8, 2, bidirectional=True), nn.LSTM(2, 5, 2, bidirectional=True), (4, 1, 2), id="LSTM"),
        pytest.param(nn.LSTM(3, 8, proj_size=4), nn.LSTM(3, 6, proj_size=2), (4, 1, 3), id="LSTM with a projection"),
        pytest.param(nn.GRU(3, 8, bias=False), nn.GRU(3, 5, bias=False), (4, 1, 3), id="GRU"),
        pytest.param(nn.RNN(3, 8), nn.RNN(2, 8), (4, 1, 2), id="RNN"),
        pytest.param(nn.LSTMCell(3, 8), nn.LSTMCell(2, 5), (1, 2), id="LSTMCell"),
        pytest.param(
            nn.ConvTranspose1d(4, 8, 3, groups=2),
            nn.ConvTranspose1d(4, 6, 3, groups=2),
            (1, 4, 5),
            id="outputs of each",
        ),
        pytest.param(nn.ConvTranspose1d(4, 8, 3, groups=2), nn.ConvTranspose1d(2, 4, 3), (1, 2, 5), id="a whole group"),
    ],
)
@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_resized_module_computes_like_a_new_one(old: nn.Module, new: nn.Module, shape: tuple[int, ...]) -> None:
    load_pruned(old, state_of(new))
    given = torch.rand(shape)
    actual, expected = old(given), new(given)
    if isinstance(expected, tuple):
        actual, expected = actual[0], expected[0]
    assert torch.equal(actual, expected)
    assert repr(old) == repr(new)


def test_groups_of_a_norm_may_be_named() -> None:
    model = nn.GroupNorm(4, 16)
    load_pruned(model, {"weight": torch.rand(8), "bias": torch.rand(8)}, groups={"": 2})
    assert (model.num_groups, model.num_channels) == (2, 8)


def test_weights_of_a_recurrent_module_are_as_they_were_after_an_error() -> None:
    model = nn.Sequential(nn.LSTM(3, 4), nn.Linear(4, 1))
    given = torch.rand(2, 1, 3)
    expected = model[0](given)[0]
    with pytest.raises(MismatchError):
        load_pruned(model, state_of(nn.Sequential(nn.LSTM(3, 2), nn.Bilinear(2, 1, 1))), strict=False)
    assert torch.equal(model[0](given)[0], expected)


def test_tied_parameters_stay_tied() -> None:
    model = nn.ModuleDict({"embed": nn.Embedding(5, 4), "head": nn.Linear(4, 5, bias=False)})
    model["head"].weight = model["embed"].weight
    load_pruned(model, {"embed.weight": torch.ones(5, 2)})  # a file holds it once
    assert model["head"].weight is model["embed"].weight
    assert repr(model["head"]) == "Linear(in_features=2, out_features=5, bias=False)"


def test_dtype_and_whether_it_is_trained_stay_the_models() -> None:
    model = nn.Linear(4, 3).half().requires_grad_(False)
    load_pruned(model, {"weight": torch.ones(2, 4), "bias": torch.ones(2)})
    assert (model.weight.dtype, model.weight.requires_grad) == (torch.float16, False)
    assert isinstance(model.weight, nn.Parameter)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU that torch can use")
def test_model_stays_on_its_gpu() -> None:
    model = nn.Linear(4, 3, device="cuda")
    load_pruned(model, {"weight": torch.ones(2, 4), "bias": torch.ones(2)})
    assert model.weight.is_cuda
    assert model(torch.ones(1, 4, device="cuda")).tolist() == [[5.0, 5.0]]


def test_what_fits_already_is_only_loaded() -> None:
    model = nn.Linear(4, 3)
    weight = model.weight
    load_pruned(model, {"weight": torch.ones(3, 4), "bias": torch.zeros(3)})
    assert model.weight is weight
    assert bool((weight == 1).all())


def test_file_is_loaded_by_its_path(tmp_path: Path) -> None:
    fresh = convolutions()
    tensors = {name: tensor.contiguous() for name, tensor in without_channels(fresh).items()}
    save_file(tensors, tmp_path / "small.safetensors")
    load_pruned(fresh, tmp_path / "small.safetensors")
    assert is_equal(tensors, fresh)


def test_result_of_a_call_is_loaded(server: ServerProcess) -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    group = rules.group(["0.weight:0", "0.bias:0", "2.weight:1"])
    with Client(server.address) as client:
        result = client.prune(model.state_dict(), rules.remove_units(0.5, groups=group), output="removed")
    load_pruned(model, result)
    assert is_equal(result.state_dict, model)
    assert model[0].out_features == 3


def test_groups_that_a_result_tells_are_taken(server: ServerProcess, tmp_path: Path) -> None:
    model = nn.ModuleDict({"conv": nn.Conv1d(8, 8, 1, groups=4, bias=False), "next": nn.Conv1d(8, 3, 1)})
    ties = [rules.tie("conv.weight", inner=2), rules.tie("next.weight", 1, inner=2)]
    group = rules.group(ties, units=4, config={"conv.groups": 1})
    with Client(server.address) as client:
        result = client.prune(model.state_dict(), rules.remove_units(0.5, groups=group), output="removed")
    result.save(tmp_path / "small.safetensors")
    load_pruned(model, tmp_path / "small.safetensors")
    assert repr(model["conv"]) == "Conv1d(4, 4, kernel_size=(1,), stride=(1,), groups=2, bias=False)"


def test_keys_that_do_not_match_are_told_when_that_is_allowed() -> None:
    keys = load_pruned(nn.Linear(4, 3), {"weight": torch.rand(3, 4), "other": torch.rand(1)}, strict=False)
    assert (keys.missing_keys, keys.unexpected_keys) == (("bias",), ("other",))


PADDED = nn.Embedding(5, 4, padding_idx=4)
NAMES = "Linear, Conv1d, Conv2d, Conv3d, BatchNorm1d"


@pytest.mark.parametrize(
    ("model", "change", "wrong"),
    [
        pytest.param(
            nn.Linear(4, 3),
            {"other": torch.rand(1)},
            'Error\\(s\\) in loading state_dict for Linear: Unexpected key\\(s\\) in state_dict: "other"',
            id="unexpected key",
        ),
        pytest.param(nn.Linear(4, 3), {"bias": None}, 'Missing key\\(s\\) in state_dict: "bias"', id="missing key"),
        pytest.param(
            nn.Bilinear(2, 3, 4), {"weight": torch.rand(3, 2, 3)}, f"Bilinear, .* are {NAMES}", id="other module"
        ),
        pytest.param(
            nn.GRU(3, 4), {"weight_ih_l0": torch.rand(9, 3)}, "4 hidden .* weight_ih_l0 is 12x3", id="one gate"
        ),
        pytest.param(
            nn.LSTM(3, 4, 2), {"weight_ih_l1": torch.rand(16, 3)}, "all layers share.*weight_ih_l1 is 16x4", id="layers"
        ),
        pytest.param(nn.GRUCell(3, 4), {"weight_ih": torch.rand(9, 3)}, "its weight_ih is 12x3", id="cell"),
        pytest.param(
            nn.GroupNorm(4, 16), {"weight": torch.rand(8), "bias": torch.rand(8)}, "2 or 4 groups now", id="two norms"
        ),
        pytest.param(
            nn.GroupNorm(4, 16), {"weight": torch.rand(6), "bias": torch.rand(6)}, "6 channels .* 4 groups", id="6 of 4"
        ),
        pytest.param(nn.ConvTranspose1d(4, 3, 3), {"weight": torch.rand(4, 3, 1)}, "its kernel is 3", id="transposed"),
        pytest.param(
            nn.Linear(4, 3), {"weight": torch.rand(2, 4)}, "its bias has 3 entries .* 2 rows", id="bias stays"
        ),
        pytest.param(
            nn.Linear(4, 3), {"weight": torch.rand(12)}, "is 3x4 here and comes as 12, but .* 2 dims", id="dims"
        ),
        pytest.param(nn.Conv1d(4, 3, 3), {"weight": torch.rand(3, 4, 1)}, "its kernel is 3", id="kernel"),
        pytest.param(
            nn.Conv1d(8, 8, 1, groups=4, bias=False),
            {"weight": torch.rand(4, 2, 1)},
            "2 or 4 groups now",
            id="two ways",
        ),
        pytest.param(
            nn.Conv1d(8, 8, 1, groups=4),
            {"weight": torch.rand(5, 2, 1), "bias": torch.rand(5)},
            "4 groups",
            id="5 of 4",
        ),
        pytest.param(
            nn.BatchNorm1d(4), {"weight": torch.rand(2), "bias": torch.rand(2)}, "of one shape", id="statistics stay"
        ),
        pytest.param(PADDED, {"weight": torch.rand(3, 4)}, "its padding_idx is 4", id="padding out of range"),
        pytest.param(nn.Linear(4, 3), {"bias": torch.rand(3, dtype=torch.cfloat)}, "no imaginary parts", id="complex"),
        pytest.param(nn.Linear(4, 3, device="meta"), {}, "on the meta device", id="meta"),
        pytest.param(nn.LazyLinear(3), {}, "run the module once", id="lazy"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(model: nn.Module, change: dict[str, Tensor | None], wrong: str) -> None:
    held = {name: tensor for name, tensor in model.state_dict().items() if not nn.parameter.is_lazy(tensor)}
    given = {name: tensor for name, tensor in (held | change).items() if tensor is not None}
    with pytest.raises(MismatchError, match=wrong):
        load_pruned(model, given)


def test_model_is_as_it_was_when_the_last_module_is_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2), nn.Bilinear(2, 2, 2))
    before, text = copy.deepcopy(model.state_dict()), repr(model)
    tensors = state_of(model)
    cut(tensors, "0.weight", "0.bias")
    cut(tensors, "1.weight", dim=1)
    tensors["2.weight"] = torch.rand(3, 2, 2)
    with pytest.raises(MismatchError):
        load_pruned(model, tensors)
    assert is_equal(before, model)
    assert repr(model) == text


def test_twins_that_come_in_two_shapes_are_refused() -> None:
    model = nn.ModuleDict({"a": nn.Linear(4, 3, bias=False), "b": nn.Linear(4, 3, bias=False)})
    model["b"].weight = model["a"].weight
    with pytest.raises(MismatchError, match=r"tied here to 'a\.weight'"):
        load_pruned(model, {"a.weight": torch.rand(2, 4), "b.weight": torch.rand(3, 4)})


def test_module_in_torchs_pruned_form_is_refused() -> None:
    model = prune.identity(nn.Linear(4, 3), "weight")  # type: ignore[no-untyped-call]
    with pytest.raises(MismatchError, match="no plain weight"):
        load_pruned(model, state_of(model) | {"weight_orig": torch.rand(2, 4)})


@pytest.mark.parametrize(
    ("model", "source"),
    [(nn.Linear(1, 1), 3), (nn.Linear(1, 1), {"weight": [1.0]}), ({}, {})],
    ids=["no checkpoint", "no tensor", "no module"],
)
def test_what_is_no_model_and_no_checkpoint_is_a_type_error(model: Any, source: Any) -> None:
    with pytest.raises(TypeError):
        load_pruned(model, source, strict=False)
