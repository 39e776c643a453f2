"""The weights in a folder, by the names that transformers and diffusers give their files."""

from pathlib import Path

import pytest

from pruning_client.checkpoints.weight_files import WeightNames, names_of, weights_in
from pruning_client.errors import CheckpointError

UNET = "diffusion_pytorch_model"


@pytest.mark.parametrize(
    ("files", "found"),
    [
        pytest.param(["model.safetensors", "model.fp16.safetensors"], "model.safetensors", id="file before variant"),
        pytest.param([f"{UNET}.safetensors"], f"{UNET}.safetensors", id="diffusers"),
        pytest.param([f"{UNET}.safetensors.index.json"], f"{UNET}.safetensors.index.json", id="shards"),
        pytest.param([f"{UNET}.fp16.safetensors", "x.bin"], f"{UNET}.fp16.safetensors", id="a variant alone"),
        pytest.param(
            [f"{UNET}.safetensors.index.fp16.json", f"{UNET}.fp16-00001-of-00002.safetensors"],
            f"{UNET}.safetensors.index.fp16.json",
            id="shards of a variant",
        ),
        pytest.param(["model-00001-of-00002.safetensors", "adapter_model.safetensors"], None, id="none"),
    ],
)
def test_weights_are_found_by_name(tmp_path: Path, files: list[str], found: str | None) -> None:
    for name in files:
        (tmp_path / name).touch()
    assert weights_in(tmp_path) == (None if found is None else tmp_path / found)


def test_several_variants_alone_are_refused(tmp_path: Path) -> None:
    for variant in ("fp16", "non_ema"):
        (tmp_path / f"{UNET}.{variant}.safetensors").touch()
    with pytest.raises(CheckpointError, match=r"several variants only: .*fp16.*, .*non_ema.*; keep one"):
        weights_in(tmp_path)


def test_names_of_a_variant() -> None:
    names = WeightNames("model", "fp16")
    assert names_of(Path(names.file)) == names_of(Path(names.index)) == names
    assert (names.file, names.index) == ("model.fp16.safetensors", "model.safetensors.index.fp16.json")
    assert names.shard(1, 3) == "model.fp16-00002-of-00003.safetensors"
