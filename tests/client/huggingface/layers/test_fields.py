"""The table of fields against the defaults of every config class of the installed transformers: its lists."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from pruning_client.huggingface.layers.fields import COUNTS, INDICES, LISTS, STAGES, TAPS
from pruning_client.huggingface.layers.lists import may_be_layers
from pruning_client.huggingface.layers.removal import Removal

OF_STAGES = {"depths", "num_heads", "dilations", "patch_sizes", "hidden_sizes", "pretrained_window_sizes"}
"""Lists with an entry for each stage of a hierarchical model, which is not a layer of a stack."""

REFUSED = {"look_ahead_layers", "look_backward_layers", "hybrid_layer_ids", "encode_proj_layers", "subsample_layers"}
"""Numbers of layers that the table does not have: models with them are refused by the name of the field."""

KNOWN = {*LISTS, *INDICES, *TAPS, *STAGES}
Part = Mapping[str, Any]


@pytest.fixture(scope="module")
def parts() -> list[Part]:
    """All parts of all configs that can be built from defaults."""
    found: list[Part] = []
    for model_type in CONFIG_MAPPING:
        with suppress(Exception):  # a class that refuses its own defaults
            found += parts_in(CONFIG_MAPPING[model_type]().to_dict())
    return found


def parts_in(config: Part) -> Iterator[Part]:
    yield config
    for value in config.values():
        if isinstance(value, dict):
            yield from parts_in(value)


def unknown_lists(part: Part) -> Iterator[tuple[str, list[Any], int]]:
    """Return the lists of a part that the table does not have, each with the number of layers of the part."""
    layers = {part[name] for name in COUNTS if type(part.get(name)) is int and part[name] > 1}
    for name, value in part.items():
        if isinstance(value, list) and name not in KNOWN:
            yield from ((name, value, count) for count in layers)


def test_lists_with_an_entry_for_each_layer_are_known(parts: list[Part]) -> None:
    found = {
        name
        for part in parts
        for name, value, layers in unknown_lists(part)
        if len(value) == layers > 2 and "layer" not in name
    }
    assert found <= OF_STAGES


def test_lists_of_numbers_of_layers_are_known(parts: list[Part]) -> None:
    found = {
        name
        for part in parts
        for name, value, layers in unknown_lists(part)
        if len(value) < layers and may_be_layers(name, value, Removal("layers", layers, tuple(range(1, layers))))
    }
    assert found <= REFUSED


def test_most_configs_are_looked_at(parts: list[Part]) -> None:
    assert len(parts) > 500
