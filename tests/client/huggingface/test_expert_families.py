"""Tiny models of every family without some experts, removed by a server: they load, and compute what a masked router
makes of the other experts."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from pruning_client import Client, rules
from pruning_client.huggingface.config_json import read_config, updated_config
from pruning_client.huggingface.folder import completed_recipe
from tests.client.huggingface.tiny_experts import FAMILIES, logits, logits_without, moe
from tests.servers import ServerProcess

REMOVED = (1, 4)
"""One of each half, so that two groups of experts keep as many."""

_FAULTS = ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs", "conversion_errors")


def without_experts(server: ServerProcess, folder: Path) -> Path:
    """Prune a folder's file, and write the config that fits it; the folder's own check would start a process."""
    target = folder.with_name("small")
    target.mkdir()
    recipe = completed_recipe(folder, rules.drop_experts(REMOVED))
    with Client(server.address) as client:
        source = folder / "model.safetensors"
        report = client.prune_file(source, target / source.name, recipe, output="removed")
    config = updated_config(read_config(folder / "config.json"), report, recipe)
    (target / "config.json").write_text(json.dumps(config))
    return target


def loaded(model_class: Any, folder: Path) -> Any:
    """Load a model in fp32; every tensor of the file has its place, and every place its tensor."""
    model, found = model_class.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert {kind: found[kind] for kind in _FAULTS if found.get(kind)} == {}
    return model.eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_model_without_experts_computes_as_with_a_masked_router(
    server: ServerProcess, tmp_path: Path, family: str
) -> None:
    model = moe(family).to(torch.bfloat16 if len(family) % 2 else torch.float32)
    model.save_pretrained(tmp_path / "model")
    small = loaded(type(model), without_experts(server, tmp_path / "model"))
    full = loaded(type(model), tmp_path / "model")
    torch.testing.assert_close(logits(small), logits_without(full, REMOVED), rtol=1e-5, atol=1e-5)
