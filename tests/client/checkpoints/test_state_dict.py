"""State dicts as they are sent, and results as state dicts: names, ties, companions."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pruning_client.checkpoints.state_dict import StateDictSource, restore
from pruning_client.errors import CheckpointError, MismatchError
from pruning_client.frameworks.base import numpy_framework, torch_framework
from pruning_proto.reasons import Reason


def names(source: StateDictSource) -> list[str]:
    return [entry.name for entry in source.layout.tensors]


def returned(source: StateDictSource) -> dict[str, Any]:
    """What comes back if a server sends all as it came."""
    buffer = memoryview(bytearray(b"".join(source.pieces())))
    return restore(source.layout, buffer, source.aliases, source.names, source.framework)


def test_tied_tensors_are_sent_once_and_tied_again() -> None:
    model = nn.ModuleDict({"a": nn.Linear(2, 2, bias=False), "b": nn.Linear(2, 2, bias=False)})
    model["b"].weight = model["a"].weight
    source = StateDictSource(model.state_dict())
    assert names(source) == ["a.weight"]
    assert source.aliases == {"b.weight": "a.weight"}
    result = returned(source)
    assert result["b.weight"] is result["a.weight"]


def test_views_of_one_memory_that_differ_are_no_ties() -> None:
    block = torch.arange(4.0)
    assert StateDictSource({"a": block[:2], "b": block[2:], "c": block.reshape(2, 2)}).aliases == {}


def test_empty_tensors_are_no_ties() -> None:
    assert StateDictSource({"a": torch.empty(0), "b": torch.empty(0)}).aliases == {}


def test_arrays_are_tied_too() -> None:
    array = np.ones(2, np.float32)
    assert StateDictSource({"a": array, "b": array}).aliases == {"b": "a"}


def test_shared_originals_of_the_masked_form_are_sent_each_with_its_mask() -> None:
    shared = torch.ones(2)
    state = {"a_orig": shared, "a_mask": torch.ones(2), "b_orig": shared, "b_mask": torch.zeros(2)}
    assert StateDictSource(state).aliases == {}


@pytest.mark.parametrize("suffix", ["_orig", "_mask", ":mask_bits"])
def test_every_form_of_a_tied_tensor_is_tied_again(suffix: str) -> None:
    source = StateDictSource({"a" + suffix: torch.ones(2)})
    result = restore(source.layout, memoryview(bytearray(8)), {"b": "a"}, (), torch_framework())
    assert result["b" + suffix] is result["a" + suffix]


def test_companions_come_directly_before_their_parameter() -> None:
    state = {"a": torch.ones(2), "b": torch.ones(2), "a:mask_bits": torch.ones(1, dtype=torch.uint8)}
    source = StateDictSource(state, importance_scores={"b": torch.ones(2)}, masks={"a": torch.ones(2)})
    assert names(source) == ["a:mask_bits", "a:mask", "a", "b:scores", "b"]


@pytest.mark.parametrize("norm", [torch.ones(2), np.ones(2, np.float32)], ids=["torch", "numpy"])
def test_norm_that_layers_share_is_sent_for_each_of_them(norm: Any) -> None:
    weights = {name: norm.reshape(1, 2) + position for position, name in enumerate(("q.weight", "k.weight"))}
    source = StateDictSource({**weights, "q.weight:in_norm": norm, "k.weight:in_norm": norm})
    assert names(source) == ["q.weight:in_norm", "q.weight", "k.weight:in_norm", "k.weight"]
    assert source.aliases == {}


@pytest.mark.parametrize("companion", ["w:scores", "w_orig:scores"])
def test_companion_comes_before_the_original_of_a_masked_pair(companion: str) -> None:
    state = {"w_orig": torch.ones(2), "w_mask": torch.ones(2), companion: torch.ones(2)}
    assert names(StateDictSource(state)) == [companion, "w_orig", "w_mask"]


def test_companion_of_no_parameter_is_sent_for_the_server_to_refuse() -> None:
    assert names(StateDictSource({"a": torch.ones(2)}, masks={"z": torch.ones(2)})) == ["a", "z:mask"]


def test_lazy_conjugate_of_a_tensor_is_not_tied_to_it() -> None:
    tensor = torch.ones(2, dtype=torch.complex64)
    imaginary = torch.ones(4).view(2, 2)[:, 0]
    state = {"a": tensor, "b": tensor.conj(), "c": imaginary, "d": imaginary._neg_view()}
    assert names(StateDictSource(state)) == ["a", "b", "c", "d"]


def test_scores_for_either_name_of_a_tied_tensor_count() -> None:
    tied = torch.ones(2)
    source = StateDictSource({"a": tied, "b": tied}, importance_scores={"b": torch.ones(2)})
    assert names(source) == ["a:scores", "a"]


def test_scores_for_both_names_of_a_tied_tensor_are_refused() -> None:
    tied, scores = torch.ones(2), torch.ones(2)
    with pytest.raises(MismatchError, match="'a:scores': is given twice"):
        StateDictSource({"a": tied, "b": tied}, importance_scores={"a": scores, "b": scores})


def test_scores_may_be_of_another_library() -> None:
    source = StateDictSource({"a": torch.ones(2)}, importance_scores={"a": np.ones(2)})
    assert [(entry.name, entry.dtype) for entry in source.layout.tensors] == [("a:scores", "F64"), ("a", "F32")]
    assert source.framework is torch_framework()


@pytest.mark.parametrize("one", [torch.ones(1), np.ones(1)], ids=["torch", "numpy"])
def test_metadata_has_the_format_that_loaders_ask_for(one: Any) -> None:
    assert StateDictSource({"a": one}).layout.metadata == {"format": "pt"}


@pytest.mark.parametrize("value", [1.0, "text", None, [1.0]], ids=repr)
def test_value_that_is_no_tensor_is_refused_by_name(value: object) -> None:
    with pytest.raises(CheckpointError, match=f"tensor 'x': only torch tensors .* got {type(value).__name__}"):
        StateDictSource({"a": torch.ones(1), "x": value})


def test_empty_state_dict_is_refused() -> None:
    with pytest.raises(MismatchError, match="the state dict is empty"):
        StateDictSource({})


def test_result_of_torch_may_be_had_as_numpy() -> None:
    source = StateDictSource({"a": torch.tensor([1.0, 2.0])})
    buffer = memoryview(bytearray(b"".join(source.pieces())))
    array = restore(source.layout, buffer, {}, (), numpy_framework())["a"]
    assert array.tolist() == [1.0, 2.0]


def test_result_has_the_names_in_the_order_they_came() -> None:
    tied = torch.ones(2)
    assert list(returned(StateDictSource({"a": tied, "b": tied, "c": torch.zeros(2)}))) == ["a", "b", "c"]


def test_result_of_another_form_has_the_order_of_its_parameters() -> None:
    came = StateDictSource({"w_orig": torch.ones(2), "w_mask": torch.ones(2), "b": torch.ones(2)})
    result = restore(came.layout, memoryview(bytearray(24)), {"v": "w"}, ("b", "w", "v"), torch_framework())
    assert list(result) == ["b", "w_orig", "w_mask", "v_orig", "v_mask"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param(nn.Linear(1, 1), r"got Linear; give its `\.state_dict\(\)`", id="module"),
        pytest.param(None, "expected a state dict, or the path of a safetensors file, got NoneType", id="nothing"),
        pytest.param([torch.ones(1)], "got list", id="list"),
        pytest.param({1: torch.ones(1)}, "names of a state dict are strings, got 1", id="number as a name"),
    ],
)
def test_what_is_no_state_dict_is_refused(given: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        StateDictSource(given)


@pytest.mark.parametrize("companions", [nn.Linear(1, 1), {1: torch.ones(1)}], ids=["module", "number as a name"])
def test_masks_that_are_no_state_dict_are_refused(companions: Any) -> None:
    with pytest.raises(TypeError):
        StateDictSource({"a": torch.ones(1)}, masks=companions)


@pytest.mark.parametrize(
    ("name", "message"),
    [("\ud800", r"'\\ud800': its name is not Unicode"), ("__metadata__", "no tensor can be named")],
    ids=["half a surrogate pair", "the format's own"],
)
def test_name_that_no_file_can_hold_is_refused(name: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        StateDictSource({name: torch.ones(1)})
    assert (caught.value.reason, caught.value.metadata["tensor"]) == (Reason.INVALID_HEADER, name)


@pytest.mark.parametrize(
    "tensor",
    [
        pytest.param(torch.eye(2).to_sparse(), id="sparse"),
        pytest.param(torch.empty(2, device="meta"), id="meta"),
        pytest.param(nn.UninitializedParameter(), id="not initialized"),
    ],
)
def test_tensor_without_plain_data_is_refused_by_name(tensor: torch.Tensor) -> None:
    with pytest.raises(CheckpointError, match="tensor 'w'"):
        StateDictSource({"w": tensor})


def test_scalar_of_numpy_is_an_array_without_dims() -> None:
    result = returned(StateDictSource({"scale": np.float32(2), "same": np.float32(2)}))
    assert (result["scale"].shape, result["scale"].dtype, result["scale"].item()) == ((), np.float32, 2.0)
