"""What holds the model's weights unpruned is left out of the new folder, at any depth; all else is copied."""

from pathlib import Path

import pytest

from pruning_client.huggingface.copied_files import described
from tests.client.tiny_files import F32, checkpoint, floats, weight, written

OTHER = checkpoint({"linear.weight": (F32, (1, 2), floats(1, 2))})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of one file."""
    written(tmp_path / "model.safetensors", weight(1, 2))
    written(tmp_path / "config.json", b"{}")
    return tmp_path


def with_file(folder: Path, name: str, content: bytes = b"weights") -> Path:
    (folder / name).parent.mkdir(exist_ok=True)
    written(folder / name, content)
    return folder


def left_out_of(folder: Path, *, has_removed: bool = False) -> list[str]:
    return described(folder, folder / "model.safetensors", has_removed=has_removed)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        pytest.param("model.fp16.safetensors", "", id="a variant"),
        pytest.param("model-00001-of-00002.safetensors", "", id="a shard"),
        pytest.param("model.safetensors-00001-of-00002.safetensors", "", id="a shard under another numbering"),
        pytest.param("model.safetensors.index.json", "", id="an index"),
        pytest.param("consolidated.safetensors", "", id="Mistral"),
        pytest.param("pytorch_model.bin", "", id="torch"),
        pytest.param("consolidated.00.pth", "", id="Meta"),
        pytest.param("tf_model.h5", "", id="TensorFlow"),
        pytest.param("model-q4.gguf", "", id="GGUF"),
        pytest.param("onnx/model.onnx", "onnx/", id="ONNX"),
        pytest.param("exported/model.onnx", "", id="ONNX elsewhere"),
        pytest.param("openvino/openvino_model.bin", "openvino/", id="OpenVINO"),
        pytest.param("original/params.json", "original/", id="the original format"),
        pytest.param("checkpoint-500/model.safetensors", "checkpoint-500/", id="an earlier checkpoint"),
    ],
)
def test_unpruned_weights_are_left_out(folder: Path, name: str, says: str) -> None:
    assert left_out_of(with_file(folder, name)) == [says or name]


def test_copy_under_any_folder_is_left_out(folder: Path) -> None:
    assert left_out_of(with_file(folder, "backup/model.safetensors", weight(3, 4))) == ["backup/model.safetensors"]


@pytest.mark.parametrize(
    "name", ["2_Dense/model.safetensors", "training_args.bin", "optimizer.pt", "adapter_model.safetensors", "a/b.json"]
)
def test_all_else_is_copied(folder: Path, name: str) -> None:
    assert left_out_of(with_file(folder, name, OTHER)) == []


def test_adapters_of_tensors_that_get_smaller_are_left_out(folder: Path) -> None:
    with_file(folder, "adapter_model.safetensors", OTHER)
    assert left_out_of(folder, has_removed=True) == ["adapter_model.safetensors"]
