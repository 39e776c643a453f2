"""bfloat16 and 8-bit floats are read as torch reads them, every pattern of bits, in every way that the engine does."""

import numpy as np
import pytest
import torch

from pruning_engine.buffer import Buffer
from pruning_engine.kernels.cpu.arrays import NumberReader
from pruning_engine.kernels.cpu.keys import ConvertedKeys, magnitude_keys
from pruning_engine.kernels.cuda.keys import MagnitudeKeys
from pruning_engine.kernels.magnitude_keys import highest_key, largest_number, magnitude_of
from pruning_engine.kernels.small_floats import fp8_values, widened
from pruning_engine.torch_tensors import TORCH_DTYPES, host_buffer

FP8 = ["F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"]
PRUNABLE = ["BF16", "F16", "F8_E4M3", "F8_E5M2"]


def every_pattern(name: str) -> torch.Tensor:
    dtype = TORCH_DTYPES[name]
    if dtype.itemsize == 1:
        return torch.arange(256, dtype=torch.int32).to(torch.uint8).view(dtype)
    return torch.arange(1 << 16, dtype=torch.int32).to(torch.int16).view(dtype)


def same(found: np.ndarray, expected: torch.Tensor) -> bool:
    """Whether numbers are equal bit by bit; of NaN, whether both are."""
    numbers = expected.numpy()
    width = f"u{numbers.dtype.itemsize}"
    nan = np.isnan(numbers)
    is_nan_alike = np.array_equal(np.isnan(found), nan)
    return is_nan_alike and np.array_equal(found[~nan].view(width), numbers[~nan].view(width))


@pytest.mark.parametrize("name", FP8)
def test_tables_hold_what_torch_reads(name: str) -> None:
    assert same(fp8_values(name), every_pattern(name).to(torch.float32))


def test_bfloat16_is_widened_as_torch_does() -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    found = widened(bits, np.empty(1 << 16, np.uint32))
    expected = every_pattern("BF16").to(torch.float32).numpy()
    assert np.array_equal(found.view(np.uint32)[np.argsort(bits)], expected.view(np.uint32)[np.argsort(bits)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", ["BF16", "F16", *FP8, "BOOL", "U8", "I8"])
def test_numbers_are_read_as_torch_reads_them(name: str, dtype: torch.dtype) -> None:
    tensor = every_pattern(name)
    kind = f"f{dtype.itemsize}"
    reader = NumberReader(host_buffer(tensor), kind)
    expected = (tensor.view(torch.uint8) if name == "BOOL" else tensor).to(dtype)
    with np.errstate(invalid="ignore"):  # signaling NaN
        assert same(reader.read(0, tensor.numel()), expected)
        assert same(reader.at(np.arange(tensor.numel())), expected)
        assert same(reader.runs(np.arange(tensor.numel() // 16)), expected)


@pytest.mark.parametrize("name", PRUNABLE)
def test_keys_are_those_of_torch(name: str) -> None:
    tensor = every_pattern(name)
    keys = magnitude_keys(host_buffer(tensor), name)
    device_keys = MagnitudeKeys(tensor, name)
    assert keys.read(0, tensor.numel()).tolist() == device_keys.read(0, tensor.numel()).tolist()
    assert (keys.highest, keys.largest_number) == (device_keys.highest, device_keys.largest_number)


@pytest.mark.parametrize("domain", ["F32", "F64"])
@pytest.mark.parametrize("name", ["BF16", "F16", *FP8])
def test_keys_in_a_wider_dtype_are_those_of_torch(name: str, domain: str) -> None:
    tensor = every_pattern(name)
    numbers = ~tensor.to(torch.float32).isnan()
    with np.errstate(invalid="ignore"):  # signaling NaN
        found = ConvertedKeys(host_buffer(tensor), domain).read(0, tensor.numel())
    expected = MagnitudeKeys(tensor, domain).read(0, tensor.numel())
    assert found[numbers.numpy()].tolist() == expected[numbers].tolist()
    largest = largest_number(domain)
    assert largest is not None
    assert (found[~numbers.numpy()] > largest).all()


@pytest.mark.parametrize("name", PRUNABLE)
def test_every_key_stands_for_the_magnitude_that_torch_reads(name: str) -> None:
    magnitudes = every_pattern(name).to(torch.float64).abs().tolist()
    found = [magnitude_of(key, name) for key in range(highest_key(name) + 1)]
    assert str(found) == str(magnitudes[: highest_key(name) + 1])


def test_order_of_keys_is_the_order_of_magnitudes() -> None:
    for name in PRUNABLE:
        largest = largest_number(name)
        assert largest is not None
        magnitudes = [magnitude_of(key, name) for key in range(largest + 1)]
        assert magnitudes == sorted(set(magnitudes))


def test_a_bool_of_two_is_read_as_two() -> None:
    data = Buffer.from_bytes(bytes([0, 1, 2]), "BOOL", (3,))
    assert NumberReader(data, "f8").read(0, 3).tolist() == [0.0, 1.0, 2.0]
