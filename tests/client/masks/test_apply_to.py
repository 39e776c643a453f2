"""Masks applied to the caller's own tensors: the same bytes as a pruned result, in place, or nothing at all."""

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from pruning_client import Client, Masks, Result, load_masks, rules
from pruning_client.checkpoints.state_dict import StateDictSource
from pruning_client.errors import CheckpointError, MismatchError, PruningError
from pruning_client.frameworks import numpy as numpy_adaptor
from pruning_client.frameworks import torch as torch_adaptor
from pruning_client.results.output_format import Output
from pruning_proto.reasons import Reason
from tests.client.tiny_files import checkpoint, weight, written
from tests.servers import ServerProcess

HALF = rules.l1_unstructured(0.5)
MATRIX = [[1.0, -4.0], [3.0, -2.0]]
PRUNED = [[0.0, -4.0], [3.0, 0.0]]
PRUNABLE = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2),
    *(torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64),
]
ENTRIES = 1001
"""Not a multiple of 8."""


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.address) as client:
        yield client


@pytest.fixture(scope="module")
def result(client: Client) -> Result:
    """The masks of half of `fc.weight`."""
    return client.prune({"fc.weight": torch.tensor(MATRIX)}, HALF, output="mask")


def random_bytes(count: int) -> Tensor:
    return torch.randint(0, 256, (count,), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def raw(tensor: Tensor) -> bytes:
    """The bytes in C order."""
    return bytes(tensor.detach().contiguous().view(torch.uint8).numpy())


def bits_of(keep: Tensor) -> memoryview:
    return memoryview(bytearray(np.packbits(keep.numpy(), bitorder="little")))


@pytest.mark.parametrize("dtype", PRUNABLE, ids=str)
def test_every_dtype_becomes_what_a_pruned_result_has(client: Client, dtype: torch.dtype) -> None:
    """Random bytes: NaN, infinities and -0.0 are among those that stay and those that fall."""
    weights = random_bytes(ENTRIES * dtype.itemsize).view(dtype)
    state, masks = {"w": weights}, {"w": random_bytes(ENTRIES) > 127}
    rule = rules.custom_from_mask(include=["w"])
    pruned = client.prune(state, rule, masks=masks).state_dict["w"]
    client.prune(state, rule, masks=masks, output="mask").apply_to(state)
    assert raw(weights) == raw(pruned)
    assert 0 < int((weights.view(torch.uint8) == 0).sum()) < weights.nbytes


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "u2", "i4", "u8"])
def test_every_numpy_dtype_becomes_what_a_pruned_result_has(client: Client, dtype: str) -> None:
    state = {"w": random_bytes(ENTRIES * np.dtype(dtype).itemsize).numpy().view(dtype)}
    rule = rules.custom_from_mask(include=["w"])
    masks = {"w": random_bytes(ENTRIES).numpy() > 127}
    pruned = client.prune(state, rule, masks=masks).state_dict["w"]
    client.prune(state, rule, masks=masks, output="mask").apply_to(state)
    assert state["w"].tobytes() == pruned.tobytes()


def test_what_no_rule_selected_stays_as_it_is(client: Client) -> None:
    odd = torch.tensor([torch.nan, torch.inf, -0.0, 0.0])
    state = {"fc.weight": torch.tensor(MATRIX), "fc.bias": odd.clone()}
    client.prune(state, HALF, output="mask").apply_to(state)
    assert state["fc.weight"].tolist() == PRUNED
    assert raw(state["fc.bias"]) == raw(odd)


def test_same_object_comes_back_pruned_in_place(result: Result) -> None:
    state = {"fc.weight": torch.tensor(MATRIX)}
    tensor = state["fc.weight"]
    assert result.apply_to(state) is state
    assert state["fc.weight"] is tensor
    assert tensor.tolist() == PRUNED


def test_dtype_may_be_another_than_the_one_that_was_pruned(result: Result) -> None:
    state = result.apply_to({"fc.weight": torch.tensor(MATRIX, dtype=torch.bfloat16)})
    assert state["fc.weight"].tolist() == PRUNED


def test_torch_result_is_applied_to_numpy_too(result: Result) -> None:
    assert result.apply_to({"fc.weight": np.array(MATRIX)})["fc.weight"].tolist() == PRUNED


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(lambda tensor: tensor.t(), id="transposed"),
        pytest.param(lambda tensor: tensor[:, ::2], id="strided"),
        pytest.param(lambda tensor: tensor.view(7, 3, 11, 13).permute(0, 2, 3, 1), id="channels last"),
        pytest.param(lambda tensor: tensor[0, 0], id="scalar"),
        pytest.param(lambda tensor: tensor[:0], id="empty"),
    ],
)
def test_strides_may_be_any(view: Callable[[Tensor], Tensor]) -> None:
    whole = torch.arange(1.0, 3004.0).view(21, 143)
    target, untouched = view(whole), view(whole.clone())
    keep = (random_bytes(target.numel()) > 127).view(target.shape)
    torch_adaptor.apply_mask_(target, bits_of(keep.flatten()))
    assert torch.equal(target, untouched * keep)


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(lambda array: array.T, id="transposed"),
        pytest.param(lambda array: array[::-2, 1::2], id="backwards"),
        pytest.param(lambda array: array.astype(">f8"), id="big endian"),
        pytest.param(lambda array: array.reshape(-1)[0:1].reshape(()), id="scalar"),
        pytest.param(lambda array: array[:0], id="empty"),
    ],
)
def test_strides_of_arrays_may_be_any(view: Callable[[Any], Any]) -> None:
    target, untouched = view(np.arange(1.0, 3004.0).reshape(21, 143)), view(np.arange(1.0, 3004.0).reshape(21, 143))
    keep = random_bytes(target.size).numpy().reshape(target.shape) > 127
    numpy_adaptor.apply_mask_(target, bits_of(torch.from_numpy(keep.reshape(-1))))
    assert np.array_equal(target, untouched * keep)


@pytest.mark.parametrize("shape", [(1_500_007,), (2, 750_001), (750_001, 2)], ids=str)
@pytest.mark.parametrize("dense", [True, False], ids=["dense", "strided"])
def test_tensor_of_several_cuts_is_pruned_throughout(shape: tuple[int, ...], dense: bool) -> None:
    memory = torch.ones(*shape, 1 if dense else 2, dtype=torch.float64)
    keep = (random_bytes(memory[..., 0].numel()) > 127).view(shape)
    torch_adaptor.apply_mask_(memory[..., 0], bits_of(keep.flatten()))
    assert torch.equal(memory[..., 0], keep.double())
    assert dense or bool((memory[..., 1] == 1).all())
    array = np.ones((*shape, 1 if dense else 2))
    numpy_adaptor.apply_mask_(array[..., 0], bits_of(keep.flatten()))
    assert np.array_equal(array[..., 0], keep.numpy())


def test_no_second_model_is_made() -> None:
    array, bits = np.ones(8_000_000), memoryview(bytearray(1_000_000))
    tracemalloc.start()
    numpy_adaptor.apply_mask_(array, bits)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8_000_000 < array.nbytes


def test_tied_tensors_are_pruned_under_each_name(client: Client) -> None:
    tied = torch.tensor(MATRIX)
    masks = client.prune({"a.weight": tied, "b.weight": tied}, HALF, output="mask")
    masks.apply_to({"a.weight": tied, "b.weight": tied})
    assert (tied.tolist(), tied._version) == (PRUNED, 1)  # once
    untied = masks.apply_to({"b.weight": torch.tensor(MATRIX), "a.weight": torch.tensor(MATRIX)})
    assert [tensor.tolist() for tensor in untied.values()] == [PRUNED, PRUNED]
    assert masks.apply_to({"b.weight": torch.tensor(MATRIX)})["b.weight"].tolist() == PRUNED


def linear() -> Any:
    """A model with the weight `fc.weight`."""
    model: Any = nn.Sequential()
    model.add_module("fc", nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        model.fc.weight.copy_(torch.tensor(MATRIX))
    return model


def test_module_is_pruned_in_place_and_trains_on(result: Result) -> None:
    model = linear()
    parameter = model.fc.weight
    assert result.apply_to(model) is model
    assert model.fc.weight is parameter
    assert parameter.tolist() == PRUNED
    assert parameter.requires_grad
    assert parameter.is_leaf
    model(torch.ones(1, 2)).sum().backward()
    assert parameter.grad is not None


def test_tied_modules_are_pruned(client: Client) -> None:
    model: Any = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    client.prune(model.state_dict(), HALF, output="mask").apply_to(model)
    assert int((model[1].weight == 0).sum()) == 2


def test_autograd_notices_the_change(result: Result) -> None:
    model = linear()
    loss = model(torch.ones(1, 2, requires_grad=True)).sum()
    result.apply_to(model)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_tensors_made_for_inference_are_pruned(result: Result) -> None:
    with torch.inference_mode():
        tensor = torch.tensor(MATRIX)
    assert result.apply_to({"fc.weight": tensor})["fc.weight"].tolist() == PRUNED


def test_module_pruned_by_torch_has_the_mask_multiplied_in(result: Result) -> None:
    model = linear()
    torch_prune.custom_from_mask(model.fc, "weight", torch.tensor([[1, 1], [0, 1]]))  # type: ignore[no-untyped-call]
    result.apply_to(model)
    assert model.fc.weight_mask.tolist() == [[0.0, 1.0], [0.0, 0.0]]
    assert model.fc.weight_orig.tolist() == MATRIX
    assert model.fc.weight.tolist() == [[0.0, -4.0], [0.0, 0.0]]
    model(torch.ones(1, 2)).sum().backward()
    torch_prune.remove(model.fc, "weight")  # type: ignore[no-untyped-call]
    assert model.fc.weight.tolist() == [[0.0, -4.0], [0.0, 0.0]]


def test_state_dict_in_torchs_pruned_form_becomes_a_masked_result(client: Client) -> None:
    state = {"fc.weight_orig": torch.tensor(MATRIX), "fc.weight_mask": torch.tensor([[1.0, 1.0], [0.0, 1.0]])}
    masked = client.prune(state, HALF, output="masked").state_dict
    client.prune(state, HALF, output="mask").apply_to(state)
    assert state["fc.weight_orig"].tolist() == masked["fc.weight_orig"].tolist()
    assert state["fc.weight_mask"].tolist() == masked["fc.weight_mask"].tolist()


def test_masks_of_a_file_are_applied(client: Client, tmp_path: Path) -> None:
    source = written(tmp_path / "in", weight(1, -4, 3, -2))
    client.prune_file(source, tmp_path / "masks", HALF, output="mask")
    masks = load_masks(tmp_path / "masks")
    assert masks.apply_to({"fc.weight": torch.tensor(MATRIX)})["fc.weight"].tolist() == PRUNED
    assert masks.apply_to(linear()).fc.weight.tolist() == PRUNED


def test_saved_result_is_a_file_of_masks(result: Result, tmp_path: Path) -> None:
    result.save(tmp_path / "masks")
    state = load_masks(tmp_path / "masks").apply_to({"fc.weight": np.array(MATRIX)})
    assert state["fc.weight"].tolist() == PRUNED


@pytest.mark.parametrize("output", ["pruned", "masked"])
def test_result_of_another_form_is_refused_with_what_to_do(client: Client, output: Output, tmp_path: Path) -> None:
    state = {"fc.weight": torch.tensor(MATRIX)}
    other = client.prune(state, HALF, output=output)
    with pytest.raises(CheckpointError, match='output="mask"'):
        other.apply_to(state)
    other.save(tmp_path / "file")
    with pytest.raises(CheckpointError, match="file is not of the form"):
        load_masks(tmp_path / "file")
    assert state["fc.weight"].tolist() == MATRIX


def test_file_without_tensors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no masks"):
        load_masks(written(tmp_path / "file", checkpoint({})))


@pytest.mark.parametrize(
    ("target", "reason", "message"),
    [
        pytest.param({}, Reason.ORPHAN_COMPANION, "mask for 'b.weight', but no tensor", id="missing"),
        pytest.param(
            {"module.b.weight": torch.ones(2, 2)}, Reason.ORPHAN_COMPANION, "there is 'module.b.weight'", id="prefixed"
        ),
        pytest.param(
            {"b.weight": torch.ones(4)}, Reason.SHAPE_MISMATCH, r"has shape \[4\]; .* for \[2, 2\]", id="shape"
        ),
        pytest.param({"b.weight": torch.ones(2, 1).expand(2, 2)}, None, "clone", id="expanded"),
        pytest.param({"b.weight": np.broadcast_to(np.float32(1), (2, 2))}, None, "read-only", id="read-only"),
        pytest.param({"b.weight": torch.ones(2, 2, device="meta")}, Reason.UNKNOWN_DTYPE, "device meta", id="meta"),
        pytest.param({"b.weight": torch.ones(2, 2).to_sparse()}, Reason.UNKNOWN_DTYPE, "only dense", id="sparse"),
        pytest.param({"b.weight": nn.UninitializedParameter()}, Reason.UNKNOWN_DTYPE, "run the module once", id="lazy"),
        pytest.param({"b.weight": torch.ones(2, 2).to(torch.float8_e8m0fnu)}, None, "no zero", id="no zero"),
        pytest.param(
            {"b.weight": torch.ones(2, 2, dtype=torch.complex64).conj()}, None, "resolve_conj", id="conjugate"
        ),
        pytest.param({"b.weight": MATRIX}, Reason.UNPRUNABLE_DTYPE, "got list", id="no tensor"),
        pytest.param({"b.weight": np.float32(1)}, None, "a number, not an array", id="number"),
    ],
)
def test_what_does_not_fit_is_refused_by_name_before_anything_is_changed(
    client: Client, target: dict[str, Any], reason: Reason | None, message: str
) -> None:
    matrix = torch.tensor(MATRIX)
    masks = client.prune({"a.weight": matrix, "b.weight": matrix.clone()}, HALF, output="mask")
    with pytest.raises(PruningError, match=message) as caught:
        masks.apply_to({"a.weight": matrix, **target})
    assert (caught.value.reason, caught.value.metadata["tensor"]) == (reason, "b.weight")
    assert matrix.tolist() == MATRIX


def test_masks_of_a_file_are_held_against_the_number_of_entries(tmp_path: Path) -> None:
    masks = load_masks(written(tmp_path / "masks", checkpoint({"w:mask_bits": ("U8", (1,), b"\x05")})))
    assert masks.apply_to({"w": np.ones(3)})["w"].tolist() == [1, 0, 1]
    with pytest.raises(MismatchError, match="has 9 entries; its mask has 1 bytes"):
        masks.apply_to({"w": np.ones(9)})


def test_two_masks_for_one_tensor_are_refused(tmp_path: Path) -> None:
    file = checkpoint({"w:mask_bits": ("U8", (1,), b"\x05"), "w_mask:mask_bits": ("U8", (1,), b"\x06")})
    state = {"w_orig": np.ones(3), "w_mask": np.ones(3)}
    with pytest.raises(MismatchError, match="'w_mask': two masks"):
        load_masks(written(tmp_path / "masks", file)).apply_to(state)
    assert state["w_mask"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("target", [[torch.ones(2)], torch.ones(2), None], ids=["list", "tensor", "nothing"])
def test_what_is_neither_state_dict_nor_module_is_refused(result: Result, target: object) -> None:
    with pytest.raises(TypeError, match="state dict or a torch module"):
        result.apply_to(target)


@pytest.fixture
def two_ranks() -> Iterator[None]:
    """A process group as if a second process were there."""
    from torch.testing._internal.distributed.fake_pg import FakeStore  # noqa: PLC0415 - slow, for few tests

    torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("two_ranks")
@pytest.mark.parametrize("sharded", ["fully_shard", "FullyShardedDataParallel"])
def test_sharded_module_is_refused(sharded: str) -> None:
    from torch.distributed import fsdp  # noqa: PLC0415 - slow, for two tests

    shard = getattr(fsdp, sharded)
    options = {} if sharded == "fully_shard" else {"use_orig_params": True, "device_id": torch.device("cpu")}
    model = shard(nn.Linear(2, 2), **options)
    for name, parameter in model.named_parameters():
        with pytest.raises(MismatchError, match=rf"{name}' cannot be pruned in place: .*before the model is"):
            torch_adaptor.check_changeable(name, parameter)


@pytest.mark.usefixtures("two_ranks")
def test_shards_are_not_sent_for_a_model() -> None:
    from torch.distributed import fsdp  # noqa: PLC0415 - slow, for two tests

    model = nn.Linear(2, 2)
    fsdp.fully_shard(model)
    with pytest.raises(CheckpointError, match=r"'weight': a DTensor holds its entries in other tensors.*full_tensor"):
        StateDictSource(model.state_dict())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_tensor_on_a_gpu_is_pruned_there(result: Result) -> None:
    tensor = torch.tensor(MATRIX, device="cuda")
    result.apply_to({"fc.weight": tensor})
    assert tensor.device.type == "cuda"
    assert tensor.tolist() == PRUNED


def test_masks_say_how_many_they_are(tmp_path: Path) -> None:
    file = written(tmp_path / "masks", checkpoint({"w:mask_bits": ("U8", (1,), b"\x05")}))
    assert isinstance(load_masks(file), Masks)
    assert repr(load_masks(file)) == "<Masks of 1 parameters>"
