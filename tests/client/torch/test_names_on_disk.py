"""Models whose tensors transformers names differently in files: groups, masks and loading accept a file's names."""

from pathlib import Path

import pytest
import torch
import transformers

import pruning_engine
from pruning_client import Client, load_masks, rules
from pruning_client.errors import MismatchError
from pruning_client.frameworks.names_on_disk import names_on_disk
from pruning_client.torch import derive_groups, load_pruned
from tests.servers import ServerProcess

IMAGE = {"pixel_values": torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))}
MODULE, FILE = "vit.layers.0.mlp.fc1.weight", "vit.encoder.layer.0.intermediate.dense.weight"


def vit() -> transformers.ViTForImageClassification:
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        image_size=16,
        patch_size=4,
        initializer_range=0.5,
    )
    return transformers.ViTForImageClassification(config)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    vit().save_pretrained(tmp_path)
    return tmp_path / "model.safetensors"


def logits(model: transformers.ViTForImageClassification) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(**IMAGE).logits
    return found


def test_names_that_differ_are_known() -> None:
    names = names_on_disk(vit())
    assert names[MODULE] == FILE
    assert "classifier.weight" not in names


def test_tensors_that_are_merged_in_memory_have_no_name() -> None:
    config = transformers.MixtralConfig(
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        vocab_size=8,
        num_local_experts=2,
    )
    names = names_on_disk(transformers.MixtralForCausalLM(config))
    assert names["model.layers.0.mlp.experts.gate_up_proj"] is None


def test_other_models_have_one_name() -> None:
    config = transformers.LlamaConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, vocab_size=8
    )
    assert names_on_disk(torch.nn.Linear(1, 1)) == names_on_disk(transformers.LlamaForCausalLM(config)) == {}


def test_derived_groups_fit_the_file_and_it_is_loaded(server: ServerProcess, file: Path) -> None:
    rule = rules.remove_units(0.5, groups=derive_groups(vit(), IMAGE))
    small, zeroed = vit(), vit()
    with Client(server.address) as client:
        client.prune_file(file, file.with_name("small"), rule, output="removed")
        client.prune_file(file, file.with_name("zeroed"), rule)
    load_pruned(small, file.with_name("small"))
    load_pruned(zeroed, file.with_name("zeroed"))
    assert torch.allclose(logits(small), logits(zeroed), atol=1e-5)
    assert not torch.allclose(logits(small), logits(vit()), atol=1e-3)


def test_derived_groups_of_the_module_fit_its_state_dict(server: ServerProcess) -> None:
    groups = derive_groups(vit(), IMAGE, names="module")
    with Client(server.address) as client:
        result = client.prune(vit().state_dict(), rules.remove_units(0.5, groups=groups), output="removed")
    assert MODULE in {tie.tensor for group in groups for tie in group.ties}
    assert result.state_dict[MODULE].shape == (16, 16)


def test_unknown_kind_of_names_is_refused() -> None:
    with pytest.raises(ValueError, match="'file' or 'module', got 'disk'"):
        derive_groups(vit(), IMAGE, names="disk")  # type: ignore[arg-type]


@pytest.mark.parametrize("is_paired", [False, True], ids=["plain", "pair"])
def test_masks_of_the_file_are_applied_to_the_module(server: ServerProcess, file: Path, *, is_paired: bool) -> None:
    with Client(server.address) as client:
        client.prune_file(file, file.with_name("mask"), rules.l1_unstructured(0.5, include=[FILE]), output="mask")
    model = vit()
    if is_paired:
        pruning_engine.identity(model.get_submodule(MODULE.rpartition(".")[0]), "weight")
    load_masks(file.with_name("mask")).apply_to(model)
    name = MODULE + "_mask" * is_paired
    assert (model.state_dict()[name] == 0).sum() == 16 * 32 // 2


def test_file_with_both_names_of_a_tensor_is_refused() -> None:
    tensors = vit().state_dict()
    tensors[FILE] = tensors[MODULE]
    with pytest.raises(MismatchError, match=f'Unexpected key.*"{FILE}"'):
        load_pruned(vit(), tensors)
