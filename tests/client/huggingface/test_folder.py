"""Folders of Hugging Face models: pruned into new ones that `from_pretrained` loads, or not touched at all."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from pruning_client import Client, rules
from pruning_client.calls.request import Rules
from pruning_client.errors import CheckpointError, MismatchError, PruningError, RecipeError
from pruning_client.huggingface.folder import prune_folder
from pruning_client.results.output_format import Output
from tests.servers import ServerProcess

HALF = rules.remove_units(0.5, map="llama_mlp", same_width=True)
TOKENS = torch.tensor([[1, 2, 3, 4]])


def llama() -> transformers.LlamaForCausalLM:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=16,
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=12,
        num_key_value_heads=6,
        head_dim=4,
    )
    return transformers.LlamaForCausalLM(config)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small LLaMA as transformers saves it, with a file beside it."""
    folder = tmp_path_factory.mktemp("llama")
    llama().save_pretrained(folder)
    (folder / "notes").mkdir()
    (folder / "notes" / "README.md").write_text("ours")
    (folder / "pytorch_model.bin").write_bytes(b"the same weights, not pruned")
    return folder


@pytest.fixture
def model(saved: Path, tmp_path: Path) -> Path:
    """A copy of the same that a test may change."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


def pruned(server: ServerProcess, model: Path, rule: Rules, output: Output = "removed") -> Path:
    with Client(server.address) as client:
        prune_folder(client, model, model.with_name("small"), rule, output=output)
    return model.with_name("small")


def loaded(folder: Path) -> Any:
    """Load a model; every tensor of the file has its place, and every place its tensor."""
    load: Any = transformers.AutoModelForCausalLM.from_pretrained
    found, told = load(folder, output_loading_info=True)
    assert [kind for kind, names in told.items() if names] == []
    return found


def answers(model: Any) -> torch.Tensor:
    with torch.no_grad():
        given: torch.Tensor = model(TOKENS).logits
    return given


def _change_config(model: Path, change: Callable[[dict[str, Any]], object]) -> None:
    config = json.loads((model / "config.json").read_text())
    change(config)
    (model / "config.json").write_text(json.dumps(config))


def test_config_of_several_models_in_one_changes_where_the_field_stands(server: ServerProcess, model: Path) -> None:
    nested = {"text_config": {"intermediate_size": 32}, "vision_config": {}}
    (model / "config.json").write_text(json.dumps(nested))
    config = json.loads((pruned(server, model, HALF) / "config.json").read_text())
    assert config == nested | {"text_config": {"intermediate_size": 16}}


def test_config_says_what_is_left(server: ServerProcess, model: Path) -> None:
    before = json.loads((model / "config.json").read_text())
    small = pruned(server, model, HALF)
    assert json.loads((small / "config.json").read_text()) == before | {"intermediate_size": 16}


@pytest.mark.parametrize(
    "rule",
    [HALF, rules.remove_units(2, map="llama_kv_groups", head_dim=4, same_width=True)],
    ids=["feed-forward", "groups of heads"],
)
def test_removal_computes_what_zeros_compute(server: ServerProcess, model: Path, rule: Rules) -> None:
    small = loaded(pruned(server, model, rule))
    shutil.rmtree(model.with_name("small"))
    zeroed = loaded(pruned(server, model, rule, "pruned"))
    assert small.num_parameters() < zeroed.num_parameters()
    assert torch.allclose(answers(small), answers(zeroed), atol=1e-5)


def test_size_of_a_head_is_written_where_their_number_changes(server: ServerProcess, model: Path) -> None:
    _change_config(model, lambda config: config.update(head_dim=None, hidden_size=48))
    rule = rules.remove_units(2, map="llama_kv_groups", head_dim=4, same_width=True)
    config = json.loads((pruned(server, model, rule) / "config.json").read_text())
    assert (config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]) == (8, 4, 4)


def test_report_has_the_fields_of_the_config(server: ServerProcess, model: Path) -> None:
    _change_config(model, lambda config: config.update(ffn_dim=config.pop("intermediate_size"), model_type="ours"))
    with Client(server.address) as client:
        report = prune_folder(client, model, model.with_name("small"), HALF)
    assert [group.config for group in report.groups] == [{"ffn_dim": 16}] * 2


def test_size_of_heads_is_taken_from_the_config(server: ServerProcess, model: Path) -> None:
    small = pruned(server, model, rules.remove_units(2, map="llama_kv_groups"))
    assert loaded(small).config.num_key_value_heads == 4


def test_other_files_are_copied_but_for_weights_in_other_forms(server: ServerProcess, model: Path) -> None:
    small = pruned(server, model, HALF)
    assert (small / "notes" / "README.md").read_text() == "ours"
    assert not (small / "pytorch_model.bin").exists()
    assert sorted(path.name for path in small.parent.iterdir()) == ["model", "small"]


def test_links_of_a_download_become_files(server: ServerProcess, model: Path, tmp_path: Path) -> None:
    links = tmp_path / "models--a--b" / "snapshots" / "1f2e"
    links.mkdir(parents=True)
    model.rename(tmp_path / "models--a--b" / "blobs")
    for name in ("config.json", "model.safetensors", "generation_config.json"):
        (links / name).symlink_to(Path("../../blobs", name))
    small = pruned(server, links, HALF)
    assert not any(path.is_symlink() for path in small.iterdir())
    loaded(small)


def test_shards_stay_shards(server: ServerProcess, tmp_path: Path) -> None:
    llama().save_pretrained(tmp_path / "model", max_shard_size="8KB")
    assert not (tmp_path / "model" / "model.safetensors").exists()
    small = pruned(server, tmp_path / "model", HALF)
    assert _tensors_by_file(small) == _tensors_by_file(tmp_path / "model")
    assert loaded(small).config.intermediate_size == 16


def test_weights_are_split_by_size(server: ServerProcess, model: Path) -> None:
    small = model.with_name("small")
    with Client(server.address) as client:
        prune_folder(client, model, small, HALF, max_shard_bytes=10_000)
    sizes = [path.stat().st_size for path in small.glob("model-*-of-*.safetensors")]
    assert len(sizes) > 1
    assert loaded(small).config.intermediate_size == 16


def _tensors_by_file(folder: Path) -> dict[str, list[str]]:
    weight_map = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    return {file: sorted(name for name in weight_map if weight_map[name] == file) for file in set(weight_map.values())}


def test_folder_that_is_read_only_makes_one_that_can_be_written(server: ServerProcess, model: Path) -> None:
    (model / "config.json").chmod(0o444)
    model.chmod(0o555)
    small = pruned(server, model, HALF)
    model.chmod(0o755)
    assert small.stat().st_mode & 0o700 == 0o700


def test_result_may_stand_inside_its_source(server: ServerProcess, model: Path) -> None:
    small = model / "notes" / "small"
    with Client(server.address) as client:
        prune_folder(client, model, small, HALF)
    assert sorted(path.name for path in (small / "notes").iterdir()) == ["README.md"]


def test_groups_of_ones_own_say_which_field_counts_them(server: ServerProcess, model: Path) -> None:
    group = rules.group(
        ["gate_proj.weight:0", "up_proj.weight:0", "down_proj.weight:1"],
        for_each="model.layers.*.mlp",
        config={"intermediate_size": 1},
    )
    small = pruned(server, model, rules.remove_units(0.25, groups=group))
    assert loaded(small).config.intermediate_size == 24


def _drop_config(model: Path) -> None:
    (model / "config.json").unlink()


def _nest_config(model: Path) -> None:
    field = {"intermediate_size": 32}
    (model / "config.json").write_text(json.dumps({"first_config": field, "second_config": field}))


def _drop_weights(model: Path) -> None:
    (model / "model.safetensors").unlink()


def _break_config(model: Path) -> None:
    (model / "config.json").write_text("{")


def _cut_weights(model: Path) -> None:
    with (model / "model.safetensors").open("r+b") as file:
        file.truncate(1000)


def _make_target(model: Path) -> None:
    model.with_name("small").mkdir()


HEADS = rules.remove_units(1, map="llama_kv_groups", head_dim=4)
MISNAMED = rules.remove_units(
    0.5, groups=rules.group(["gate_proj.weight:0"], for_each="model.layers.*.mlp", config={"intermediate": 1})
)
WIDE_HEADS = rules.remove_units(1, map="llama_kv_groups", head_dim=8, same_width=True)
NOT_COUNTED = rules.remove_units(1, groups=rules.group(["model.norm.weight:0"]))


@pytest.mark.parametrize(
    ("spoil", "rule", "output", "kind", "wrong"),
    [
        pytest.param(_drop_config, HALF, "removed", OSError, "has no config.json", id="no config"),
        pytest.param(_drop_weights, HALF, "removed", OSError, "save the model with safetensors", id="no weights"),
        pytest.param(_break_config, HALF, "removed", MismatchError, "is not JSON", id="config is none"),
        pytest.param(_nest_config, HALF, "removed", MismatchError, "in several parts", id="field stands twice"),
        pytest.param(_cut_weights, HALF, "removed", CheckpointError, "but only 992 follow", id="weights are cut"),
        pytest.param(_make_target, HALF, "removed", OSError, r"is there already.*--force", id="something is there"),
        pytest.param(lambda _: None, HALF, "mask", RecipeError, "'pruned' or 'removed'", id="not to be loaded"),
        pytest.param(lambda _: None, NOT_COUNTED, "removed", RecipeError, "intermediate_size", id="no field"),
        pytest.param(lambda _: None, HEADS, "removed", MismatchError, "is not a multiple of .* 10 now", id="odd heads"),
        pytest.param(lambda _: None, MISNAMED, "removed", MismatchError, "no field intermediate,", id="unknown field"),
        pytest.param(lambda _: None, WIDE_HEADS, "removed", RecipeError, "model's is 4, got 8", id="other heads"),
        pytest.param(
            lambda _: None, rules.l1_unstructured(0.5), "removed", PruningError, "units", id="nothing to remove"
        ),
    ],
)
def test_what_cannot_be_pruned_is_refused_and_leaves_nothing(
    server: ServerProcess,
    model: Path,
    spoil: Callable[[Path], None],
    rule: Rules,
    output: Output,
    kind: type[Exception],
    wrong: str,
) -> None:
    spoil(model)
    before = sorted(model.parent.rglob("*"))
    with pytest.raises(kind, match=wrong):
        pruned(server, model, rule, output)
    assert sorted(model.parent.rglob("*")) == before


def mlp_of(layer: int) -> Any:
    ties = ["gate_proj.weight:0", "up_proj.weight:0", "down_proj.weight:1"]
    return rules.group(ties, for_each=f"model.layers.{layer}.mlp", config={"intermediate_size": 1})


def test_layers_that_keep_different_numbers_are_refused(server: ServerProcess, model: Path) -> None:
    uneven = [rules.remove_units(amount, groups=mlp_of(layer)) for layer, amount in enumerate((0.5, 0.25))]
    with pytest.raises(
        MismatchError, match=r"one intermediate_size for all layers, but 'model\.layers\.0\.mlp' has 16 now"
    ):
        pruned(server, model, uneven)
    assert not model.with_name("small").exists()
