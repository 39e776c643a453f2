"""Tiny models of every family without some experts, removed by a server: they load, and compute what a masked router
makes of the other experts."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pruning_client import Client, Recipe, rules
from pruning_client.huggingface.config_json import read_config
from pruning_client.huggingface.experts.tested import TESTED, is_tested
from pruning_client.huggingface.folder import completed_recipe, prune_folder
from pruning_client.huggingface.result_check import check_result, shapes_of
from pruning_client.huggingface.transformers_check import Need, TransformersCheck
from tests.client.huggingface.tiny_experts import FAMILIES, config_of, logits, logits_without, model_class, moe
from tests.servers import ServerProcess

REMOVED = (1, 4)
"""One of each half, so that two groups of experts keep as many."""

_FAULTS = ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs", "conversion_errors")


def without_experts(server: ServerProcess, folder: Path) -> Path:
    """Prune a folder; its names and shapes raise no doubt that transformers would have to settle."""
    target, rule = folder.with_name("small"), rules.drop_experts(REMOVED)
    with Client(server.address) as client:
        report = prune_folder(client, folder, target, rule)
    configs = [read_config(path / "config.json") for path in (folder, target)]
    assert is_tested(configs[0], completed_recipe(folder, rule).to_message())
    with TransformersCheck({}, Need.IN_DOUBT) as nobody:
        shapes = [shapes_of(path / "model.safetensors") for path in (folder, target)]
        check_result((configs[0], shapes[0]), (configs[1], shapes[1]), report.groups, nobody)
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


def test_tested_architectures_are_these_families() -> None:
    configs = map(config_of, FAMILIES)
    assert {config.model_type: model_class(config).__name__ for config in configs} == TESTED


def test_other_operations_on_them_are_not_tested() -> None:
    config = {"model_type": "mixtral", "architectures": ["MixtralForCausalLM"]}
    experts, layers = rules.keep_experts(4), rules.drop_layers([1])
    assert is_tested(config, Recipe([experts]).to_message())
    assert not is_tested(config, Recipe([experts, layers]).to_message())


@pytest.mark.parametrize("changed", [{"model_type": "ours"}, {"architectures": ["OurModel"]}, {"architectures": None}])
def test_other_architectures_are_not_tested(changed: dict[str, Any]) -> None:
    config = {"model_type": "mixtral", "architectures": ["MixtralForCausalLM"]} | changed
    assert not is_tested(config, Recipe([rules.keep_experts(4)]).to_message())
