"""Layers that keep different numbers of channels, where config.json has a number for each layer."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from pruning_client import Client, rules
from pruning_client.errors import MismatchError
from pruning_client.huggingface.config_fields import new_values
from pruning_client.huggingface.folder import prune_folder
from pruning_client.results.report import GroupReport
from tests.client.huggingface.tiny_models import decoder, outputs
from tests.servers import ServerProcess

GLOBAL = rules.remove_units(0.5, map="llama_mlp", scope="global")


def group(name: str, units: int, kept: int) -> GroupReport:
    config = {"intermediate_size": kept}
    return GroupReport(rule=0, name=name, units=units, kept=tuple(range(kept)), tensors=(f"{name}.w",), config=config)


def saved(name: str, folder: Path) -> Any:
    """Save a tiny model whose second layer has ten times the weights of the first, so that it keeps more channels."""
    model = decoder(name)
    with torch.no_grad():
        for parameter in model.model.layers[1].mlp.parameters():
            parameter.mul_(10)
    model.save_pretrained(folder)
    return model


def test_gemma_3n_has_a_width_for_each_layer(server: ServerProcess, tmp_path: Path) -> None:
    model = saved("Gemma3n", tmp_path / "model")

    with Client(server.address) as client:
        report = prune_folder(client, tmp_path / "model", tmp_path / "small", GLOBAL)
        prune_folder(client, tmp_path / "model", tmp_path / "zeros", GLOBAL, output="pruned")

    first, second = (len(each.kept) for each in report.groups)
    small, told = type(model).from_pretrained(tmp_path / "small", output_loading_info=True)
    zeroed = type(model).from_pretrained(tmp_path / "zeros")
    assert {kind: names for kind, names in told.items() if names} == {}
    assert small.config.intermediate_size == [first, second]
    assert first < second
    assert first + second == 32
    torch.testing.assert_close(outputs(small), outputs(zeroed), atol=1e-5, rtol=1e-4)


def test_one_width_for_all_is_kept_and_said(server: ServerProcess, tmp_path: Path) -> None:
    saved("Llama", tmp_path / "model")

    with Client(server.address) as client:
        report = prune_folder(client, tmp_path / "model", tmp_path / "small", GLOBAL)

    assert len({len(each.kept) for each in report.groups}) == 1
    assert "same_width" in [warning.kind for warning in report.warnings]


DECI = {"hidden_size": 192, "block_configs": [{"ffn": {"no_op": True}}, {"ffn": {"ffn_mult": 4.0}}]}
ELM = {"model_dim": 512, "ffn_dim_divisor": 64, "ffn_multipliers": [0.5, 1.0]}


@pytest.mark.parametrize(
    ("config", "name", "units", "place", "number"),
    [
        pytest.param(ELM, "transformer.layers.1.ffn", 512, ("ffn_multipliers", 1), 0.5, id="OpenELM"),
        pytest.param(DECI, "model.layers.1.mlp", 512, ("block_configs", 1, "ffn", "ffn_mult"), 2.0, id="DeciLM"),
        pytest.param(
            {"hidden_size": 8, "block_configs": [{"ffn": {"intermediate_size": 12}}]},
            "model.layers.0.mlp",
            12,
            ("block_configs", 0, "ffn", "intermediate_size"),
            6,
            id="width in block_configs",
        ),
    ],
)
def test_number_that_a_width_follows_from(
    config: dict[str, Any], name: str, units: int, place: tuple[str | int, ...], number: float
) -> None:
    assert new_values(config, group(name, units, units // 2), 0, is_mapped=True) == {place: number}
    assert json.dumps(number)


@pytest.mark.parametrize(
    ("units", "kept", "message"),
    [
        pytest.param(512, 100, r"multiples of 256; keep a multiple \(--round-to 256\)", id="between steps"),
        pytest.param(300, 256, "4.0, which does not give its 300 units", id="of another size"),
    ],
)
def test_width_that_no_number_gives_is_refused(units: int, kept: int, message: str) -> None:
    with pytest.raises(MismatchError, match=message):
        new_values(DECI, group("model.layers.1.mlp", units, kept), 0, is_mapped=True)
