"""The input dim by architecture, compared with the classes of the modules that own the tensors.

`module_tensors.tsv` is recorded by scripts/module_tensors from transformers' architectures.
"""

import re
from collections.abc import Mapping

import pytest

from pruning_engine.planning.model_types import input_dim_of
from tests.engine.planning.test_default_targets import rows

MADE_OF_TWO = {"encoder-decoder", "speech-encoder-decoder", "vision-text-dual-encoder"}
IN_OUT = {"GptOssExperts", "OpenAIPrivacyFilterExperts", "AriaExperts", "Llama4TextExperts"}
EITHER = {"Qwen3VLMoeTextExperts"}


def is_one_expert(row: Mapping[str, str]) -> bool:
    """Whether a file has a tensor for each expert, where the module has one for all."""
    return row["kind"] == "experts" and re.search(r"experts\.\d+\.", row["name"]) is not None


def truth(row: Mapping[str, str]) -> set[int | None]:
    """Return what may be said of a tensor: the dim, or nothing where names do not tell convolutions apart."""
    owner = row["class"]
    if owner == "Conv1D":
        return {0}
    if owner in EITHER:
        return {None}
    if row["kind"] == "experts":
        return {1 if is_one_expert(row) or owner in IN_OUT else 2}
    if row["dims"] == "2":
        return {1}
    return {None, 0} if "ConvTranspose" in owner else {None, 1}


def found(row: Mapping[str, str]) -> int | None:
    dims = 2 if is_one_expert(row) else int(row["dims"])
    return input_dim_of(row["architecture"], row["name"], (4,) * dims)


def test_input_dims_are_those_of_the_classes() -> None:
    table = [
        row
        for row in rows("module_tensors.tsv")
        if row["kind"] in {"layer", "experts", "head"}
        and not row["architecture"].startswith(("torch.", "diffusers."))
        and row["architecture"] not in MADE_OF_TWO
    ]
    assert len(table) > 2000
    assert [(row["architecture"], row["name"], found(row)) for row in table if found(row) not in truth(row)] == []


@pytest.mark.parametrize("name", ["unet.conv_in.weight", "bert.encoder.layer.0.output.dense.weight"])
def test_unknown_architecture_says_nothing(name: str) -> None:
    assert input_dim_of("my_own_model", name, (4, 4)) is None
    assert input_dim_of("vision-encoder-decoder", name, (4, 4)) is None


def test_parameters_that_are_no_weights_of_layers_have_none() -> None:
    assert input_dim_of("clip", "text_projection", (4, 4)) is None
    assert input_dim_of("llama", "model.norm.weight", (4,)) is None
