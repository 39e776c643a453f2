"""Numbers of every dtype against torch's, and distributions of |w| against values written out."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pruning_client.models.magnitudes import DISTRIBUTED, magnitudes
from pruning_client.models.numbers import numbers

TORCH = {
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    "F8_E8M0": torch.float8_e8m0fnu,
}


@pytest.mark.parametrize("dtype", TORCH)
def test_every_code_is_the_number_that_torch_reads(dtype: str) -> None:
    bits = torch.arange(65536, dtype=torch.int32).to(torch.uint16)
    codes = bits if TORCH[dtype].itemsize == 2 else torch.arange(256, dtype=torch.int32).to(torch.uint8)
    expected = codes.view(TORCH[dtype]).to(torch.float64).numpy()
    np.testing.assert_array_equal(numbers(dtype, memoryview(codes.numpy().tobytes())), expected)


@pytest.mark.parametrize("dtype", sorted(DISTRIBUTED))
def test_bins_hold_what_is_between_their_edges(dtype: str) -> None:
    width = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}.get(dtype, 1)
    codes = np.random.default_rng(0).integers(0, 256, 4000 * width, np.uint8)
    with np.errstate(invalid="ignore"):
        values = np.abs(numbers(dtype, memoryview(codes.tobytes())).astype(np.float64))
    found = magnitudes(dtype, [memoryview(codes.tobytes())])
    finite = values[np.isfinite(values) & (values > 0)]
    assert found.zeros == np.count_nonzero(values == 0)
    assert found.non_finite == len(values) - len(finite) - found.zeros
    assert list(found.counts) == np.histogram(finite, [*found.edges[:-1], np.inf])[0].tolist()
    assert found.counts[0] > 0
    assert found.counts[-1] > 0


def test_octaves_are_powers_of_two() -> None:
    values = np.array([0.0, -0.0, 1.0, -1.5, 1.99, 2.0, 0.25, np.nan, -np.inf], np.float32)
    found = magnitudes("F32", [memoryview(values.tobytes())])
    assert dict(found.octaves) == {-2: 1, 0: 3, 1: 1}
    assert (found.zeros, found.non_finite) == (2, 2)


def test_tensor_of_zeros_has_no_bins() -> None:
    found = magnitudes("BF16", [memoryview(bytes(8))])
    assert (found.edges, found.counts, found.zeros, dict(found.octaves)) == ((), (), 4, {})


@given(st.lists(st.floats(width=16), max_size=50), st.integers(1, 7))
def test_pieces_add_up(values: list[float], entries: int) -> None:
    data = memoryview(np.array(values, np.float16).tobytes())
    pieces = [data[begin : begin + 2 * entries] for begin in range(0, len(data), 2 * entries)]
    assert magnitudes("F16", pieces) == magnitudes("F16", [data])
