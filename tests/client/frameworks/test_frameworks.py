"""Tensors to bytes and back, the same for each library: dtypes, strides, shapes."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing._internal.two_tensor import TwoTensor

from pruning_client.errors import CheckpointError
from pruning_client.frameworks import numpy as numpy_adaptor
from pruning_client.frameworks import torch as torch_adaptor
from pruning_client.frameworks.base import Framework
from pruning_proto.safetensors.header import TensorEntry

TORCH_DTYPES = list(torch_adaptor._NAMES)
NUMPY_DTYPES = ["bool", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8"]


def let_go_of(tensor: Tensor) -> Tensor:
    tensor.untyped_storage().resize_(0)
    return tensor


def wrapper(tensor: Tensor) -> Tensor:
    return TwoTensor(tensor, tensor)  # type: ignore[no-untyped-call]  # torch's own, for its tests


def there_and_back(framework: Framework, tensor: Any) -> Any:
    dtype, shape = framework.describe("x", tensor)
    data = memoryview(bytearray(framework.view(tensor)))
    return framework.tensor(TensorEntry("x", dtype, shape, 0, len(data)), data)


@pytest.mark.parametrize("dtype", TORCH_DTYPES, ids=str)
def test_torch_tensor_of_any_dtype_comes_back(dtype: torch.dtype) -> None:
    tensor = torch.tensor([0, 1, 2, 3]).to(torch.uint8).repeat(4).view(torch.uint8)[: 4 * dtype.itemsize]
    tensor = (tensor > 0).view(2, 2) if dtype is torch.bool else tensor.clone().view(dtype).reshape(-1, 2)
    back = there_and_back(torch_adaptor, tensor)
    assert back.dtype == dtype
    assert back.shape == tensor.shape
    assert back.view(torch.uint8).tolist() == tensor.contiguous().view(torch.uint8).tolist()


@pytest.mark.parametrize("dtype", NUMPY_DTYPES)
def test_numpy_array_of_any_dtype_comes_back(dtype: str) -> None:
    array = np.array([[0, 1, 0], [1, 0, 1]], dtype)
    back = there_and_back(numpy_adaptor, array)
    assert back.dtype == array.dtype
    assert np.array_equal(back, array)


@pytest.mark.parametrize(
    "tensor",
    [
        pytest.param(torch.arange(6.0).reshape(2, 3).t(), id="transposed"),
        pytest.param(torch.arange(6.0)[::2], id="strided"),
        pytest.param(torch.ones(1).expand(3), id="expanded"),
        pytest.param(torch.ones(1, 2, 2, 2).to(memory_format=torch.channels_last), id="channels last"),
        pytest.param(torch.nn.Parameter(torch.ones(2)), id="parameter"),
        pytest.param(torch.tensor(3.0), id="scalar"),
        pytest.param(torch.empty(0, 3), id="empty"),
        pytest.param(torch.tensor([1 + 2j], dtype=torch.complex64).conj(), id="lazy conjugate"),
        pytest.param(torch.tensor([1 + 2j], dtype=torch.complex64).conj().imag, id="lazy negative"),
    ],
)
def test_torch_tensor_of_any_strides_comes_back(tensor: Tensor) -> None:
    back = there_and_back(torch_adaptor, tensor)
    assert back.shape == tensor.shape
    assert torch.equal(back, tensor)


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.arange(6.0).reshape(2, 3).T, id="transposed"),
        pytest.param(np.arange(6.0)[::-2], id="backwards"),
        pytest.param(np.arange(6, dtype=">i4"), id="big endian"),
        pytest.param(np.array(3.0), id="scalar"),
        pytest.param(np.empty((0, 3)), id="empty"),
        pytest.param(np.broadcast_to(np.float32(1), (2, 2)), id="read-only"),
    ],
)
def test_numpy_array_of_any_strides_comes_back(array: np.ndarray[Any, Any]) -> None:
    back = there_and_back(numpy_adaptor, array)
    assert back.shape == array.shape
    assert np.array_equal(back, array)


def test_dense_tensor_is_sent_from_where_it_stands() -> None:
    tensor = torch.zeros(4, dtype=torch.uint8)
    view = torch_adaptor.view(tensor)
    tensor[1] = 7
    assert view.tolist() == [0, 7, 0, 0]


def test_dense_array_is_sent_from_where_it_stands() -> None:
    array = np.zeros(4, np.uint8)
    view = numpy_adaptor.view(array)
    array[1] = 7
    assert view.tolist() == [0, 7, 0, 0]


def test_view_keeps_its_tensor_alive() -> None:
    view = torch_adaptor.view(torch.full((1000,), 7, dtype=torch.uint8))
    _ = [torch.zeros(1000, dtype=torch.uint8) for _ in range(10)]
    assert set(view) == {7}


@pytest.mark.parametrize("framework", [torch_adaptor, numpy_adaptor], ids=["torch", "numpy"])
def test_result_can_be_written_to_and_shares_its_memory(framework: Framework) -> None:
    data = bytearray(8)
    framework.tensor(TensorEntry("x", "F32", (2,), 0, 8), memoryview(data))[0] = 1.0
    assert data[:4] == b"\x00\x00\x80\x3f"


@pytest.mark.parametrize("framework", [torch_adaptor, numpy_adaptor], ids=["torch", "numpy"])
def test_bytes_that_are_not_aligned_are_read_all_the_same(framework: Framework) -> None:
    data = memoryview(bytearray(b"x\x00\x00\x80\x3f"))[1:]
    assert float(framework.tensor(TensorEntry("x", "F32", (), 0, 4), data)) == 1.0


def test_torch_tensors_are_aligned_even_where_the_bytes_are_not() -> None:
    data = memoryview(bytearray(9))
    starts = [torch_adaptor.tensor(TensorEntry("x", "F64", (1,), 0, 8), data[at : at + 8]).data_ptr() for at in (0, 1)]
    assert [start % 8 for start in starts] == [0, 0]


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        pytest.param(torch.ones(2, dtype=torch.complex128), "no torch.complex128", id="complex128"),
        pytest.param(torch.ones(2).to_sparse(), "only dense tensors", id="sparse"),
        pytest.param(torch.empty(2, device="meta"), "device meta", id="meta"),
        pytest.param(wrapper(torch.ones(2)), "a TwoTensor holds .*give a dense one", id="wrapper"),
        pytest.param(let_go_of(torch.ones(2)), "2 entries have no memory", id="let go of"),
    ],
)
def test_torch_tensor_that_cannot_be_sent_is_refused_by_name(tensor: Tensor, message: str) -> None:
    with pytest.raises(CheckpointError, match=f"tensor 'fc': .*{message}"):
        torch_adaptor.describe("fc", tensor)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_tensor_cannot_be_sent() -> None:
    with pytest.raises(CheckpointError, match=r"tensor 'fc': only dense tensors .*strided, nested"):
        torch_adaptor.describe("fc", torch.nested.nested_tensor([torch.ones(2)]))


@pytest.mark.parametrize("dtype", ["c16", "U3", "O", "M8[s]"])
def test_numpy_array_that_cannot_be_sent_is_refused_by_name(dtype: str) -> None:
    with pytest.raises(CheckpointError, match="tensor 'fc': safetensors has no"):
        numpy_adaptor.describe("fc", np.empty(1, dtype))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_tensor_on_a_gpu_comes_back_on_the_cpu() -> None:
    assert there_and_back(torch_adaptor, torch.ones(2, device="cuda")).device.type == "cpu"


def test_numpy_result_in_bfloat16_says_what_it_needs() -> None:
    with pytest.raises(ImportError, match="install ml_dtypes"):
        numpy_adaptor.tensor(TensorEntry("x", "BF16", (1,), 0, 2), memoryview(bytearray(2)))


@pytest.mark.parametrize("framework", [torch_adaptor, numpy_adaptor], ids=["torch", "numpy"])
def test_dtype_without_an_equal_is_refused_with_a_way_out(framework: Framework) -> None:
    with pytest.raises(CheckpointError, match=r"cannot read F6_E2M3; write the result to a file with `result\.save"):
        framework.tensor(TensorEntry("x", "F6_E2M3", (4,), 0, 3), memoryview(bytearray(3)))
