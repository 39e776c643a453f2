"""Folders in the layout of diffusers: components under their own file names, and pipelines of several components."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pruning_client import Client, rules
from pruning_client.calls.request import Rules
from pruning_client.checkpoints.file import FileSource
from pruning_client.checkpoints.opened import open_source
from pruning_client.errors import CheckpointError, MismatchError, PruningError
from pruning_client.huggingface.copied_files import described
from pruning_client.huggingface.folder import prune_folder, weights_of
from pruning_client.results.report import Report
from tests.client.tiny_files import F32, checkpoint, floats, weight, written
from tests.servers import ServerProcess

UNET = "diffusion_pytorch_model"
HALF = rules.l1_unstructured(0.5)


def component(folder: Path, name: str = f"{UNET}.safetensors", content: bytes = weight(1, 2, 3, 4)) -> Path:
    """A component's folder with one file of weights."""
    folder.mkdir(parents=True, exist_ok=True)
    written(folder / "config.json", b"{}")
    written(folder / name, content)
    return folder


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """Two components, the second in two shards, and a scheduler, which has no weights."""
    folder = tmp_path / "p"
    component(folder / "text_encoder", "model.safetensors", weight(1, 2, 3, 4))
    component(folder / "unet", f"{UNET}-00001-of-00002.safetensors", weight(5, 6, 7, 8))
    second = checkpoint({"conv.weight": (F32, (1, 2), floats(9, 1))})
    component(folder / "unet", f"{UNET}-00002-of-00002.safetensors", second)
    weight_map = {
        "fc.weight": f"{UNET}-00001-of-00002.safetensors",
        "conv.weight": f"{UNET}-00002-of-00002.safetensors",
    }
    (folder / "unet" / f"{UNET}.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (folder / "scheduler").mkdir()
    parts = {"text_encoder": ["transformers", "X"], "unet": ["diffusers", "Y"], "scheduler": ["diffusers", "Z"]}
    listed = {"_class_name": "Any", **parts, "safety_checker": [None, None]}
    (folder / "model_index.json").write_text(json.dumps(listed))
    return folder


def pruned(server: ServerProcess, folder: Path, rule: Rules = HALF) -> Report:
    with Client(server.address) as client:
        return prune_folder(client, folder, folder.with_name("out"), rule, output="pruned")


def values(path: Path) -> dict[str, bytes]:
    source = open_source(path)
    content = b"".join(map(bytes, source.pieces()))
    return {entry.name: content[entry.begin : entry.end] for entry in source.layout.tensors}


@pytest.mark.parametrize("name", [f"{UNET}.safetensors", f"{UNET}.fp16.safetensors"])
def test_component_keeps_its_file_name(server: ServerProcess, tmp_path: Path, name: str) -> None:
    pruned(server, component(tmp_path / "unet", name))
    assert values(tmp_path / "out" / name) == {"fc.weight": floats(0, 0, 3, 4)}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(["config.json", name])


def test_variant_beside_the_weights_is_left_out(tmp_path: Path) -> None:
    folder = component(component(tmp_path / "unet"), f"{UNET}.fp16.safetensors")
    component(folder, f"{UNET}.safetensors.index.fp16.json", b"{}")
    assert described(folder, weights_of(folder), has_removed=False) == [
        f"{UNET}.fp16.safetensors",
        f"{UNET}.safetensors.index.fp16.json",
    ]


def test_all_components_of_a_pipeline_are_pruned(server: ServerProcess, pipeline: Path) -> None:
    report = pruned(server, pipeline)
    out = pipeline.with_name("out")
    assert {each.name for each in report.tensors} == {"text_encoder.fc.weight", "unet.fc.weight", "unet.conv.weight"}
    assert values(out / "text_encoder" / "model.safetensors") == {"fc.weight": floats(0, 0, 3, 4)}
    assert values(out / "unet" / f"{UNET}.safetensors.index.json") == {
        "fc.weight": floats(0, 0, 7, 8),
        "conv.weight": floats(9, 0),
    }
    assert (out / "model_index.json").read_bytes() == (pipeline / "model_index.json").read_bytes()


def test_scope_global_is_over_the_whole_pipeline(server: ServerProcess, pipeline: Path) -> None:
    pruned(server, pipeline, rules.l1_unstructured(0.5, scope="global"))
    assert values(pipeline.with_name("out") / "text_encoder" / "model.safetensors") == {"fc.weight": floats(0, 0, 0, 0)}


def test_component_is_selected_by_its_name(server: ServerProcess, pipeline: Path) -> None:
    pruned(server, pipeline, rules.l1_unstructured(0.5, include=["unet.*"]))
    assert values(pipeline.with_name("out") / "text_encoder" / "model.safetensors") == {"fc.weight": floats(1, 2, 3, 4)}


def test_single_file_of_a_pipeline_is_left_out(pipeline: Path) -> None:
    written(pipeline / "v1-5.safetensors", weight(1, 2))
    written(pipeline / "unet" / f"{UNET}.fp16.safetensors", weight(1, 2))
    left_out = described(pipeline, weights_of(pipeline), has_removed=False)
    assert left_out == [f"unet/{UNET}.fp16.safetensors", "v1-5.safetensors"]


def _drop_weights(pipeline: Path) -> None:
    shutil.rmtree(pipeline / "unet")
    shutil.rmtree(pipeline / "text_encoder")


def _pickle(pipeline: Path) -> None:
    (pipeline / "text_encoder" / "model.safetensors").rename(pipeline / "text_encoder" / "pytorch_model.bin")


def _break_list(pipeline: Path) -> None:
    (pipeline / "model_index.json").write_text("[]")


@pytest.mark.parametrize(
    ("spoil", "wrong"),
    [
        pytest.param(_drop_weights, "lists no component with weights", id="no weights"),
        pytest.param(_pickle, r"'text_encoder' has its weights in pytorch_model\.bin", id="a pickle"),
        pytest.param(_break_list, "is not a JSON object", id="no list"),
    ],
)
def test_pipeline_that_cannot_be_read_is_refused(
    server: ServerProcess, pipeline: Path, spoil: Callable[[Path], None], wrong: str
) -> None:
    spoil(pipeline)
    with pytest.raises(CheckpointError, match=wrong):
        pruned(server, pipeline)
    assert not pipeline.with_name("out").exists()


def test_channels_are_removed_from_one_component_at_a_time(server: ServerProcess, pipeline: Path) -> None:
    group = rules.group(["fc.weight:0"], config={"width": 1})
    with Client(server.address) as client, pytest.raises(MismatchError, match=r"one by one.*p/text_encoder.*p/unet"):
        prune_folder(client, pipeline, pipeline.with_name("out"), rules.remove_units(0.5, groups=group))


def test_damaged_shard_of_a_component_leaves_nothing(server: ServerProcess, pipeline: Path) -> None:
    written(pipeline / "unet" / f"{UNET}-00002-of-00002.safetensors", b"")
    with pytest.raises(PruningError):
        pruned(server, pipeline)
    assert sorted(path.name for path in pipeline.parent.iterdir()) == ["p"]


def test_whole_pipeline_is_one_source(pipeline: Path) -> None:
    assert list(values(pipeline / "model_index.json")) == [
        "text_encoder.fc.weight",
        "unet.fc.weight",
        "unet.conv.weight",
    ]
    assert FileSource(pipeline / "text_encoder" / "model.safetensors").layout.tensors[0].name == "fc.weight"
