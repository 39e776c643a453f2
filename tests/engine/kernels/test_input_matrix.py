"""Weights as matrices of outputs by inputs, and back; and numbers rounded to the dtypes of weights."""

import numpy as np
import pytest
import torch

from pruning_engine.buffer import Buffer
from pruning_engine.kernels.cpu.backend import NumpyBackend
from pruning_engine.kernels.input_matrix import UnfitInputDimError, flags_of, input_layout, mask_of, read_entries
from pruning_engine.kernels.rounding import write_rounded
from pruning_engine.torch_tensors import name_of, to_buffer

LAYOUTS = {
    "linear": ("fc.weight", (4, 6), 1, (1, 4, 6)),
    "linear from the last": ("fc.weight", (4, 6), -1, (1, 4, 6)),
    "conv1d of gpt-2": ("c_fc.weight", (6, 4), 0, (1, 4, 6)),
    "conv": ("conv.weight", (4, 3, 2, 5), 1, (1, 4, 30)),
    "conv of one dim": ("conv.weight", (4, 3, 5), 1, (1, 4, 15)),
    "transposed conv": ("up.weight", (6, 4, 2, 2), 0, (1, 16, 6)),
    "experts, outputs first": ("mlp.experts.down_proj", (3, 4, 6), 2, (3, 4, 6)),
    "experts, inputs first": ("mlp.experts.down_proj", (3, 6, 4), 1, (3, 4, 6)),
}


@pytest.mark.parametrize(("name", "shape", "dim", "expected"), LAYOUTS.values(), ids=LAYOUTS)
def test_matrices_are_outputs_by_inputs(name: str, shape: tuple[int, ...], dim: int, expected: object) -> None:
    layout = input_layout(name, shape, dim)
    assert layout.to_matrices(np.zeros(shape)).shape == expected


@pytest.mark.parametrize(("name", "shape", "dim", "_"), LAYOUTS.values(), ids=LAYOUTS)
def test_matrices_return_to_their_entries(name: str, shape: tuple[int, ...], dim: int, _: object) -> None:
    layout, entries = input_layout(name, shape, dim), np.arange(np.prod(shape))
    assert layout.to_entries(layout.to_matrices(entries)).tolist() == entries.tolist()


def test_conv_is_a_product_with_unfolded_inputs() -> None:
    weight, image = torch.randn(4, 3, 2, 2, dtype=torch.float64), torch.randn(1, 3, 5, 5, dtype=torch.float64)
    matrix = input_layout("conv.weight", (4, 3, 2, 2), 1).to_matrices(weight.numpy())[0]
    inputs = torch.nn.functional.unfold(image, 2)[0].numpy()
    expected = torch.nn.functional.conv2d(image, weight)[0].reshape(4, -1).numpy()
    np.testing.assert_allclose(matrix @ inputs, expected, rtol=1e-12)


def test_transposed_conv_is_a_product_with_its_inputs() -> None:
    weight, image = torch.randn(3, 4, 2, 2, dtype=torch.float64), torch.randn(1, 3, 5, 5, dtype=torch.float64)
    matrix = input_layout("up.weight", (3, 4, 2, 2), 0).to_matrices(weight.numpy())[0]
    outputs = torch.nn.functional.conv_transpose2d(image, weight, stride=2)[0]
    expected = torch.nn.functional.unfold(outputs[None], 2, stride=2)[0].numpy()
    np.testing.assert_allclose(matrix @ image[0].reshape(3, -1).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize(("shape", "dim"), [((4,), 0), ((4, 6), 2), ((4, 3, 2, 5), 3)], ids=str)
def test_dim_without_matrices_is_refused(shape: tuple[int, ...], dim: int) -> None:
    with pytest.raises(UnfitInputDimError):
        input_layout("fc.weight", shape, dim)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_numbers_round_as_in_torch(dtype: torch.dtype) -> None:
    numbers = torch.cat([torch.randn(5_000), torch.randn(5_000) * 1e-6, torch.tensor([0.0, -0.0, 1e-45, 2.0**-133])])
    numbers = torch.cat([numbers, 1 + torch.arange(0, 4096) * 2.0**-12])  # halves among them
    out = Buffer.from_bytes(bytearray(len(numbers) * dtype.itemsize), name_of(dtype), (len(numbers),))
    write_rounded(numbers.numpy(), out)
    assert bytes(out.data) == bytes(to_buffer(numbers.to(dtype)).host().data)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
def test_numbers_round_to_fp8_as_in_torch(dtype: torch.dtype) -> None:
    codes = torch.arange(256, dtype=torch.uint8).view(dtype).float()
    codes = codes[codes.isfinite()].sort().values
    numbers = torch.cat([codes, (codes[1:] + codes[:-1]) / 2, torch.randn(5_000), torch.randn(5_000) * 1e-3])
    out = Buffer.from_bytes(bytearray(len(numbers)), name_of(dtype), (len(numbers),))
    write_rounded(numbers.numpy(), out)
    assert bytes(out.data) == bytes(to_buffer(numbers.to(dtype)).host().data)


@pytest.mark.parametrize(
    ("dtype", "largest"),
    [("F32", 3.4028234663852886e38), ("F16", 65504.0), ("BF16", 3.3895313892515355e38), ("F8_E4M3", 448.0)],
)
def test_numbers_beyond_a_dtype_become_its_largest(dtype: str, largest: float) -> None:
    out = Buffer.from_bytes(bytearray(8 if dtype == "F32" else 4 if dtype.endswith("16") else 2), dtype, (2,))
    write_rounded(np.array([1e300, -1e300]), out)
    assert read_entries(out, np.float64).tolist() == [largest, -largest]


def test_masks_go_to_flags_and_back() -> None:
    flags, backend = np.arange(13) % 3 > 0, NumpyBackend()
    assert flags_of(mask_of(flags, backend), backend).tolist() == flags.tolist()
