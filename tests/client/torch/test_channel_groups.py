"""Groups of tied channels, found by running a module once in a child process, and tried there."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from pruning_client import Client, rules
from pruning_client.errors import DeadlineError, MismatchError
from pruning_client.torch import DerivedGroups, derive_groups, load_pruned
from tests.servers import ServerProcess

IMAGE = torch.rand(2, 1, 10, 10)


class LeNet(nn.Module):
    """Two convolutions, and two layers over what is flattened from 2 x 2."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 6, 3)
        self.fc1, self.fc2 = nn.Linear(24, 8), nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        seen = torch.max_pool2d(torch.relu(self.conv1(images)), 2)
        flat = torch.relu(self.conv2(seen)).flatten(1)
        given: Tensor = self.fc2(torch.relu(self.fc1(flat)))
        return given


class Residual(nn.Module):
    """A block whose output is added to its input; `inner` channels are its own."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(width, inner, 3, padding=1, bias=False), nn.BatchNorm2d(inner)
        self.conv2, self.norm2 = nn.Conv2d(inner, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)

    def forward(self, seen: Tensor) -> Tensor:
        return torch.relu(seen + self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(seen))))))


def resnet() -> nn.Sequential:
    """A block between a stem and a head, and convolutions of each channel for itself and of two groups."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        Residual(4, 6),
        nn.Conv2d(4, 4, 3, groups=4),
        nn.Conv2d(4, 4, 1),
        nn.Conv2d(4, 4, 1, groups=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


class Recurrent(nn.Module):
    """Linear layers around a recurrent one."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(2, 4), nn.Linear(4, 4)
        self.lstm, self.head = nn.LSTM(4, 4), nn.Linear(4, 1)

    def forward(self, seen: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.lstm(self.fc2(self.fc1(seen)))[0])
        return outputs


class Endless(nn.Module):
    """Never gives anything."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(1, 1)

    def forward(self, _: Tensor) -> Tensor:
        while True:
            time.sleep(0.1)


LENET = LeNet()
BEFORE = {name: tensor.clone() for name, tensor in LENET.state_dict().items()}


def ties_of(group: rules.Group) -> list[tuple[str, int]]:
    return [(tie.tensor, tie.dim) for tie in group.ties]


@pytest.fixture(scope="module")
def of_lenet() -> DerivedGroups:
    return derive_groups(LENET, IMAGE)


@pytest.fixture(scope="module")
def of_resnet() -> DerivedGroups:
    return derive_groups(resnet(), IMAGE)


def test_channels_are_tied_to_all_that_was_flattened_from_them(of_lenet: DerivedGroups) -> None:
    (group,) = (group for group in of_lenet if group.ties[0].tensor == "conv2.weight")
    assert group == rules.group(
        ["conv2.weight:0", "conv2.bias:0", rules.tie("fc1.weight", 1, inner=4)],
        units=6,
    )


def test_each_layer_is_a_group_but_for_the_outputs(of_lenet: DerivedGroups) -> None:
    assert sorted(group.ties[0].tensor for group in of_lenet) == ["conv1.weight", "conv2.weight", "fc1.weight"]


def test_what_is_left_out_says_why(of_lenet: DerivedGroups) -> None:
    assert of_lenet.left_out == {"fc2": "its units are outputs of the module"}


def test_channels_that_are_added_are_one_group(of_resnet: DerivedGroups) -> None:
    (wide,) = (group for group in of_resnet if ("0.weight", 0) in ties_of(group))
    expected = {("0.weight", 0), ("1.conv1.weight", 1), ("1.conv2.weight", 0), ("2.weight", 0), ("3.weight", 1)}
    assert expected <= set(ties_of(wide))
    assert ("1.norm2.running_mean", 0) in ties_of(wide)


def test_channels_inside_a_block_are_a_group_of_their_own(of_resnet: DerivedGroups) -> None:
    (inner,) = (group for group in of_resnet if ("1.conv1.weight", 0) in ties_of(group))
    assert (inner.units, ("1.conv2.weight", 1) in ties_of(inner)) == (6, True)


def test_channels_through_a_convolution_of_several_groups_are_left_out(of_resnet: DerivedGroups) -> None:
    assert of_resnet.left_out["3"] == "it goes through a convolution of several groups"


@pytest.mark.parametrize("name", ["of_lenet", "of_resnet"])
def test_removal_computes_what_zeros_compute(name: str, server: ServerProcess, request: pytest.FixtureRequest) -> None:
    models = {"of_lenet": LeNet, "of_resnet": resnet}
    model, small = models[name]().eval(), models[name]().eval()
    rule = rules.remove_units(0.5, groups=request.getfixturevalue(name))
    with Client(server.address) as client:
        zeroed = client.prune(model.state_dict(), rule)
        removed = client.prune(model.state_dict(), rule, output="removed")
    model.load_state_dict(zeroed.state_dict)
    load_pruned(small, removed)
    assert sum(each.numel() for each in small.parameters()) < 0.7 * sum(each.numel() for each in model.parameters())
    assert torch.allclose(small(IMAGE), model(IMAGE), atol=1e-6)


def test_heads_of_an_attention_and_what_a_norm_is_over_are_left_out() -> None:
    config = transformers.BertConfig(
        vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    (ffn,) = groups = derive_groups(transformers.BertModel(config), {"input_ids": torch.tensor([[1, 2, 3]])})
    layer = "encoder.layer.0"
    assert ties_of(ffn) == [
        (f"{layer}.intermediate.dense.weight", 0),
        (f"{layer}.intermediate.dense.bias", 0),
        (f"{layer}.output.dense.weight", 1),
    ]
    assert "heads" in groups.left_out[f"{layer}.attention.self.value"]


def decoder(norm: nn.Module, act: nn.Module) -> nn.Sequential:
    """Two transposed convolutions and what may be between them."""
    return nn.Sequential(nn.Conv2d(1, 4, 3), norm, act, nn.ConvTranspose2d(4, 6, 3), nn.ConvTranspose2d(6, 1, 1))


def test_transposed_convolutions_and_prelu_are_followed() -> None:
    groups = derive_groups(decoder(nn.BatchNorm2d(4), nn.PReLU(4)), IMAGE)
    outer, inner = sorted((set(ties_of(group)) for group in groups), key=len)
    assert outer == {("3.weight", 1), ("3.bias", 0), ("4.weight", 0)}
    assert {("0.weight", 0), ("2.weight", 0), ("3.weight", 0)} <= inner


def test_norm_over_several_channels_is_left_out() -> None:
    groups = derive_groups(decoder(nn.GroupNorm(2, 4), nn.PReLU()), IMAGE)
    assert "0.weight" not in {tie.tensor for group in groups for tie in group.ties}
    assert "0" in groups.left_out


def test_recurrent_layer_is_left_out_by_name() -> None:
    groups = derive_groups(Recurrent(), torch.rand(1, 3, 2))
    assert groups.left_out["fc2"] == "it goes through a LSTM, which derive_groups does not follow"


def test_reshape_that_torch_pruning_does_not_follow_is_named() -> None:
    model = nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Conv1d(2, 4, 1), nn.Flatten(0), nn.Linear(8, 2))
    with pytest.raises(MismatchError, match=r"torch-pruning does not follow it to the end: dim 1 of '3\.weight' has 8"):
        derive_groups(model, torch.rand(1, 4))


def test_limit_of_torch_pruning_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "torch_pruning.py").write_text("def DependencyGraph():\n    raise ValueError('no such layer')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        MismatchError, match=r"the module runs, but torch-pruning [\d.]+ cannot trace it .*no such layer"
    ):
        derive_groups(LeNet(), IMAGE)


def test_module_that_finds_no_end_is_given_up() -> None:
    with pytest.raises(DeadlineError, match=r"within 0\.5 s.* name them yourself with `rules\.group`"):
        derive_groups(Endless(), torch.rand(1, 1), timeout_seconds=0.5)


@pytest.mark.parametrize(
    ("model", "inputs", "wrong"),
    [
        pytest.param(LeNet(), torch.rand(1, 3, 10, 10), "expected input.* to have 1 channels", id="other inputs"),
        pytest.param(nn.ReLU(), torch.rand(1, 2), "has no parameters", id="nothing to prune"),
        pytest.param(nn.LazyLinear(3), torch.rand(1, 2), "run the module once", id="lazy"),
    ],
)
def test_module_without_groups_is_refused(model: nn.Module, inputs: Any, wrong: str) -> None:
    with pytest.raises(MismatchError, match=wrong):
        derive_groups(model, inputs)


def test_module_that_cannot_be_sent_is_refused() -> None:
    model = LeNet()
    model.threads = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(MismatchError, match="cannot be sent to a child process"):
        derive_groups(model, IMAGE)


def test_the_module_is_not_touched(of_lenet: DerivedGroups) -> None:
    assert len(of_lenet) == 3
    assert LENET.training
    assert all(torch.equal(BEFORE[name], tensor) for name, tensor in LENET.state_dict().items())
