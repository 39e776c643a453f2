"""torch tensors as buffers over the same memory, and back, in every dtype and layout."""

import pytest
import torch

from pruning_engine.buffer import CARRIERS, Buffer
from pruning_engine.dtypes import element_bits
from pruning_engine.torch_tensors import TORCH_DTYPES, name_of, to_buffer, to_tensor
from pruning_proto.safetensors.dtypes import DTYPE_BITS

DTYPES = pytest.mark.parametrize("dtype", TORCH_DTYPES.values(), ids=str)


def every_byte(dtype: torch.dtype) -> torch.Tensor:
    """Return a tensor of 16 rows that holds every byte."""
    if dtype is torch.bool:
        return torch.arange(256).view(16, 16) % 3 == 0
    return torch.arange(256, dtype=torch.int16).to(torch.uint8).view(dtype).view(16, -1)


def same_bytes(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.equal(one.contiguous().view(torch.uint8), other.contiguous().view(torch.uint8))


@DTYPES
def test_tensor_becomes_a_buffer_over_its_memory(dtype: torch.dtype) -> None:
    tensor = every_byte(dtype)
    buffer = to_buffer(tensor)
    assert isinstance(buffer, Buffer)
    assert buffer.array.ctypes.data == tensor.data_ptr()
    assert buffer.array.dtype == CARRIERS[buffer.dtype]
    assert (buffer.entries, buffer.nbytes) == (tensor.numel(), tensor.nbytes)
    assert bytes(buffer.data) == bytes(tensor.view(torch.uint8).numpy())


@DTYPES
def test_buffer_becomes_a_tensor_over_its_memory(dtype: torch.dtype) -> None:
    tensor = every_byte(dtype)
    back = to_tensor(to_buffer(tensor))
    assert back.data_ptr() == tensor.data_ptr()
    assert back.dtype is dtype
    assert same_bytes(back, tensor)


@DTYPES
def test_strides_are_kept(dtype: torch.dtype) -> None:
    tensor = every_byte(dtype)[::2].t()
    buffer = to_buffer(tensor)
    assert isinstance(buffer, Buffer)
    back = to_tensor(buffer)
    assert (back.shape, back.stride(), back.data_ptr()) == (tensor.shape, tensor.stride(), tensor.data_ptr())
    assert bytes(buffer.data) == bytes(tensor.contiguous().view(torch.uint8).numpy())


@DTYPES
def test_bytes_become_a_buffer_without_a_copy(dtype: torch.dtype) -> None:
    tensor = every_byte(dtype)
    data = bytearray(tensor.view(torch.uint8).numpy())
    buffer = Buffer.from_bytes(data, name_of(dtype), tuple(tensor.shape))
    assert same_bytes(to_tensor(buffer), tensor)
    data[0] ^= 1
    assert bytes(buffer.data) == bytes(data)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0)], ids=str)
@DTYPES
def test_tensors_without_dims_or_entries(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    buffer = to_buffer(torch.zeros(shape, dtype=torch.uint8).to(dtype))
    assert isinstance(buffer, Buffer)
    assert buffer.shape == shape
    again = Buffer.from_bytes(bytearray(buffer.data), buffer.dtype, shape)
    assert to_tensor(again).shape == shape


def test_gradients_are_left_behind() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    buffer = to_buffer(parameter)
    assert isinstance(buffer, Buffer)
    buffer.array[0] = 5.0
    assert parameter.tolist() == [5.0, 1.0]


def test_negative_bit_is_resolved() -> None:
    negative = torch.tensor([1 + 2j, 3 - 4j]).conj().imag
    assert negative.is_neg()
    assert to_tensor(to_buffer(negative)).tolist() == [-2.0, 4.0]


def test_dtypes_of_less_than_a_byte_are_flat_bytes() -> None:
    buffer = Buffer.from_bytes(b"\x12\x34\x05", "F4", (5,))
    assert (buffer.entries, buffer.nbytes, bytes(buffer.data)) == (5, 3, b"\x12\x34\x05")


@pytest.mark.parametrize("data", [b"", b"1234567", b"123456789"], ids=["none", "too few", "too many"])
def test_wrong_number_of_bytes_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="F32 of shape \\[2\\] takes 8 bytes"):
        Buffer.from_bytes(data, "F32", (2,))


def test_every_dtype_of_torch_has_its_width() -> None:
    dtypes = {value for name in dir(torch) if isinstance(value := getattr(torch, name), torch.dtype)}
    assert {dtype: element_bits(name_of(dtype)) for dtype in dtypes} == {dtype: dtype.itemsize * 8 for dtype in dtypes}


def test_every_name_of_safetensors_has_a_carrier_or_is_less_than_a_byte() -> None:
    assert CARRIERS.keys() == {name for name, bits in DTYPE_BITS.items() if bits % 8 == 0} == TORCH_DTYPES.keys()
    assert {name: CARRIERS[name].itemsize * 8 for name in CARRIERS} == {name: DTYPE_BITS[name] for name in CARRIERS}


def test_unknown_dtype_names_the_known_ones() -> None:
    with pytest.raises(KeyError, match="F32"):
        element_bits("F128")
