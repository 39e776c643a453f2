"""Two models compared: what is counted and measured of each tensor, whatever holds it."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from pruning_client import pack_file
from pruning_client.errors import CheckpointError
from pruning_client.models.compared_models import ModelDiff, TensorDiff, compare_models
from tests.client.tiny_files import F32, checkpoint, floats, written


def compared(folder: Path, before: bytes, after: bytes) -> ModelDiff:
    return compare_models(written(folder / "a", before), written(folder / "b", after))


def of_two(folder: Path, before: tuple[str, bytes], after: tuple[str, bytes], entries: int) -> TensorDiff:
    """The one tensor of two files, each given by dtype and bytes."""
    files = [checkpoint({"w": (dtype, (entries,), data)}) for dtype, data in (before, after)]
    (tensor,) = compared(folder, *files).tensors
    return tensor


def test_a_change_is_counted_and_measured(tmp_path: Path) -> None:
    tensor = of_two(tmp_path, (F32, floats(3.0, 4.0, 0.0, 0.0)), (F32, floats(3.0, 0.0, 0.0, 1.0)), 4)
    assert (tensor.status, tensor.changed, tensor.became_zero, tensor.became_nonzero) == ("changed", 2, 1, 1)
    assert tensor.largest_change == 4.0
    assert tensor.relative_change == pytest.approx(17**0.5 / 5)


def test_equal_tensors_have_no_change(tmp_path: Path) -> None:
    data = floats(float("nan"), float("inf"), 1.0)
    tensor = of_two(tmp_path, (F32, data), (F32, data), 3)
    assert (tensor.status, tensor.changed, tensor.largest_change, tensor.relative_change) == ("equal", 0, 0.0, 0.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_lost_is_an_infinite_change(tmp_path: Path, value: float) -> None:
    tensor = of_two(tmp_path, (F32, floats(float("nan"), 1.0)), (F32, floats(float("nan"), value)), 2)
    assert (tensor.changed, tensor.largest_change, tensor.relative_change) == (1, float("inf"), float("inf"))
    assert json.dumps(tensor.to_dict(), allow_nan=False)


def test_other_dtypes_are_compared_as_numbers(tmp_path: Path) -> None:
    values = np.array([1.5, -2.0, 0.0, 3.0], np.float32)
    half = values.astype(np.float16)
    half[3] = 2.0
    tensor = of_two(tmp_path, (F32, values.tobytes()), ("F16", half.tobytes()), 4)
    assert (tensor.status, tensor.changed, tensor.largest_change) == ("dtype", None, 1.0)


def test_complex_numbers_move_by_their_absolute_value(tmp_path: Path) -> None:
    tensor = of_two(tmp_path, ("C64", floats(0.0, 1.0)), ("C64", floats(3.0, 5.0)), 1)
    assert tensor.largest_change == 5.0


@pytest.mark.parametrize("dtype", ["F4", "F6_E2M3"])
def test_narrow_dtypes_are_compared_bit_by_bit(tmp_path: Path, dtype: str) -> None:
    size = 3 * 1024 * 1024 + 3  # more than one piece, whose ends are inside of entries of 6 bits
    entries = size * 8 // (4 if dtype == "F4" else 6)
    tensor = of_two(tmp_path, (dtype, bytes(size)), (dtype, bytes(size - 1) + b"\x01"), entries)
    assert (tensor.status, tensor.largest_change) == ("changed", None)
    assert tensor.changed == (1 if dtype == "F4" else None)


def test_names_and_shapes_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    before = checkpoint({"a": (F32, (2,), floats(1, 0)), "b": (F32, (1, 2), floats(0, 0))})
    after = checkpoint({"b": (F32, (2,), floats(0, 1)), "c": (F32, (1,), floats(0))})
    diff = compared(tmp_path, before, after)
    assert [(tensor.name, tensor.status) for tensor in diff.tensors] == [
        ("a", "only_before"),
        ("b", "shape"),
        ("c", "only_after"),
    ]
    assert (diff.before.entries, diff.before.zeros, diff.after.entries, diff.after.zeros) == (4, 3, 3, 2)
    assert not diff.is_equal


def test_order_and_metadata_make_no_difference_to_tensors(tmp_path: Path) -> None:
    tensors = {"a": (F32, (1,), floats(1)), "b": (F32, (2,), floats(0, 1))}
    diff = compared(tmp_path, checkpoint(tensors), checkpoint(dict(reversed(tensors.items())), {"key": "value"}))
    assert diff.is_equal
    assert diff.metadata == ("key",)


def test_packed_file_is_equal_to_its_dense_one(tmp_path: Path) -> None:
    values = np.zeros((700, 1001), np.float32)  # several pieces, of other sizes than those of the dense file
    values[::3, 1] = 1
    dense = written(tmp_path / "a", checkpoint({"w.weight": (F32, values.shape, values.tobytes())}))
    pack_file(dense, tmp_path / "b")
    assert compare_models(dense, tmp_path / "b").is_equal
    assert compare_models(dense, tmp_path / "b").metadata == ()


def test_folder_of_shards_is_compared_with_one_file(tmp_path: Path) -> None:
    tensors = {name: np.full(2, number, np.float32) for number, name in enumerate("ab")}
    save_file(tensors, tmp_path / "one.safetensors")
    folder = tmp_path / "model"
    folder.mkdir()
    places = {name: f"model-0000{number}-of-00002.safetensors" for number, name in enumerate("ba", 1)}
    for name, place in places.items():
        save_file({name: tensors[name]}, folder / place)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    assert compare_models(tmp_path / "one.safetensors", folder).is_equal


def test_truncated_file_is_refused(tmp_path: Path) -> None:
    content = checkpoint({"w": (F32, (2,), floats(1, 2))})
    with pytest.raises(CheckpointError, match="describes"):
        compared(tmp_path, content, content[:-1])
