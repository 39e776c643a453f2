"""Every method in parts: the bytes and the report of one call, whatever the parts are and whoever does them."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from safetensors.torch import save

from pruning_client import Rule, rules
from pruning_engine.errors import CheckpointError
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.parts import WholePlan, seeded
from tests.engine.calibrated import gram, inputs
from tests.engine.scaled import random_codes, random_scale
from tests.service.calls.test_left_out_units import EXPERTS, listed, moe
from tests.service.parts.in_parts import (
    SETTINGS,
    InParts,
    at_once,
    files_of,
    options_for,
    result_of,
    shuffled,
    split,
)

PRUNED, MASKED, MASK, REPORT = (
    *(pb.OUTPUT_FORM_PRUNED, pb.OUTPUT_FORM_MASKED),
    *(pb.OUTPUT_FORM_MASK, pb.OUTPUT_FORM_REPORT),
)
OUTPUTS = {"pruned": PRUNED, "masked": MASKED, "mask": MASK, "report": REPORT}
DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]

torch.manual_seed(4)
GRAM = gram(inputs(16)).float()


STATISTICS = {"in_gram": GRAM, "in_sum": torch.arange(16.0) / 9, "in_count": torch.tensor([128.0])}


def layers(dtype: torch.dtype = torch.float32, statistics: Sequence[str] = ()) -> dict[str, torch.Tensor]:
    """Return a model of six layers of different scales, with biases, a norm, an embedding and integers."""
    torch.manual_seed(8)
    tensors = {"embed.weight": torch.randn(33, 16).to(dtype)}
    for at in range(6):
        for name in statistics:
            tensors[f"layers.{at}.fc.weight:{name}"] = STATISTICS[name] * (1 + at)
        tensors[f"layers.{at}.fc.weight"] = (torch.randn(24, 16) * (1 + at)).to(dtype)
        tensors[f"layers.{at}.fc.bias"] = torch.randn(24).to(dtype)
        tensors[f"layers.{at}.out.weight"] = torch.randn(7, 24).to(dtype)
    tensors["norm.weight"] = torch.ones(16, dtype=dtype)
    tensors["odd"] = torch.ones(3, dtype=torch.uint8)
    tensors["empty.weight"] = torch.zeros(0, 4, dtype=dtype)
    return tensors


def check(tensors: dict[str, torch.Tensor], each: list[Rule], output: "pb.OutputForm" = PRUNED) -> InParts:
    """Compare parts with one call, divided in two ways; return the second."""
    content = save(tensors, {"format": "pt", "mine": "kept"})
    options = options_for(content, each, output)
    expected = at_once(options, content)
    result = result_of(options, content)
    for files in (files_of(result, 4), shuffled(result, 3, seed=len(content))):
        found = InParts(options, content, files)
        got = found.run()
        assert got.report == expected.report
        assert got.data == expected.data
    return found


GLOBAL = rules.l1_unstructured(0.5, scope="global")
ENTRIES = {
    "identity": [rules.identity()],
    "local": [rules.l1_unstructured(0.5)],
    "counts": [rules.l1_unstructured(17, include=["layers.*"])],
    "random": [rules.random_unstructured(0.3)],
    "random, all": [rules.random_unstructured(0.3, scope="global")],
    "global": [GLOBAL],
    "nothing": [rules.l1_unstructured(0, scope="global")],
    "everything": [rules.l1_unstructured(1.0, scope="global")],
    "sparsity": [rules.l1_unstructured(rules.sparsity(0.7), scope="global")],
    "global after local": [rules.l1_unstructured(0.25), GLOBAL],
    "local after global": [GLOBAL, rules.l1_unstructured(0.25)],
    "two global": [GLOBAL, rules.l1_unstructured(0.5, scope="global", include=["*.out.weight", "*.bias"])],
    "zeros count": [rules.l1_unstructured(0.2), rules.l1_unstructured(0.4, scope="global", prior="zeros")],
    "channels": [rules.ln_structured(0.5, n=2, dim=0)],
    "random channels": [rules.random_structured(0.5, dim=1)],
    "2:4": [rules.n_of_m(2, 4)],
}


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS)
@pytest.mark.parametrize("each", ENTRIES.values(), ids=ENTRIES)
def test_entries_are_those_of_one_call(each: list[Rule], output: "pb.OutputForm") -> None:
    check(layers(), each, output)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["global", "random, all", "zeros count"])
def test_dtypes_are_those_of_one_call(name: str, dtype: torch.dtype) -> None:
    check(layers(dtype), ENTRIES[name])


def test_dtypes_compete_with_each_other() -> None:
    tensors = layers()
    mixed = {name: tensor.to(DTYPES[at % 4]) for at, (name, tensor) in enumerate(tensors.items()) if "weight" in name}
    check(mixed, [GLOBAL])


OF_FC: Any = {"input_dim": 1, "include": "*.fc.weight"}
REFIT = {"refit": {"steps": 20}}
CALIBRATED = {
    "wanda": rules.wanda(0.5, **OF_FC),
    "wanda, all": rules.wanda(0.5, scope="global", **OF_FC),
    "ria": rules.ria(0.5, **OF_FC),
    "sparsegpt": rules.sparsegpt(0.5, **OF_FC),
    "alps": rules.alps(0.5, **OF_FC),
    "refit": rules.l1_unstructured(0.5, swaps=True, update=REFIT, **OF_FC),
    "global refit": rules.wanda(0.5, scope="global", update=REFIT, **OF_FC),
    "bias": rules.l1_unstructured(0.5, update="bias_compensation", **OF_FC),
}


@pytest.mark.parametrize("name", CALIBRATED)
def test_calibrated_rules_are_those_of_one_call(name: str) -> None:
    statistics = ["in_sum", "in_count"] if name == "bias" else ["in_gram"]
    check(layers(statistics=statistics), [CALIBRATED[name]])


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS)
def test_masked_pairs_and_prior_masks(output: "pb.OutputForm") -> None:
    tensors = layers()
    weight = tensors.pop("layers.1.fc.weight")
    pair = {"layers.1.fc.weight_mask": weight > 0, "layers.1.fc.weight_orig": weight}
    bits = {"layers.2.fc.weight:mask_bits": torch.full((48,), 0x5A, dtype=torch.uint8)}
    check({**pair, **tensors, **bits}, [GLOBAL], output)


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS)
def test_scales_are_in_other_files(output: "pb.OutputForm") -> None:
    weights = {f"{name}.weight": random_codes(18, 21, seed=at) for at, name in enumerate("abcd")}
    scales = {f"{name}.weight_scale_inv": random_scale(5, 3, seed=at) for at, name in enumerate("abcd")}
    check({**scales, "norm.weight": torch.ones(5), **weights}, [GLOBAL], output)


def units(**options: object) -> list[Rule]:
    groups = [
        rules.group([f"layers.{at}.fc.weight:0", f"layers.{at}.fc.bias:0", f"layers.{at}.out.weight:1"])
        for at in range(6)
    ]
    return [rules.remove_units(0.5, groups=groups, **options)]  # type: ignore[arg-type]


def test_groups_at_the_borders_are_decided_in_both_parts() -> None:
    content = save(layers())
    options = options_for(content, units(), PRUNED)
    expected = at_once(options, content)
    names = [entry.name for entry in result_of(options, content).tensors]
    border = names.index("layers.2.fc.weight") + 1
    found = InParts(options, content, [names[:border], names[border:]])
    assert found.run() == expected


def test_global_groups_are_indivisible() -> None:
    content = save(layers())
    options = options_for(content, units(scope="global"), PRUNED)
    found = InParts(options, content, files_of(result_of(options, content), 4))
    division = found.whole().divide(found.files)
    assert division.indivisible is not None
    assert "rules[0] decides groups of units together" in division.indivisible
    with pytest.raises(ValueError, match="cannot be carried out in parts"):
        found.run()


def test_listed_experts_are_removed_in_parts() -> None:
    content = save(moe())
    options = options_for(content, [Rule.from_message(listed(EXPERTS, kept=[1, 3])), GLOBAL], pb.OUTPUT_FORM_REMOVED)
    expected = at_once(options, content)
    result = result_of(options, content)
    assert any("experts.1" in entry.name for entry in result.tensors)
    for files in (files_of(result, 3), shuffled(result, 4, seed=2)):
        found = InParts(options, content, files)
        assert found.run() == expected
        read = sum(end - begin for begin, end in found.store.ranges)
        assert read < 3 * (len(content) - len(found.header))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"output": pb.OUTPUT_FORM_PACKED}, "only after all are pruned"),
        ({"output": pb.OUTPUT_FORM_PLAN}, "reads no weights"),
        ({"digests": True}, "digests are of whole files"),
    ],
    ids=["packed", "plan", "digests"],
)
def test_what_cannot_be_divided_says_why(change: dict[str, object], why: str) -> None:
    content = save(layers())
    options = options_for(content, [GLOBAL], **{"output": PRUNED, **change})  # type: ignore[arg-type]
    whole = InParts(options, content, []).whole()
    assert why in (whole.indivisible or "")
    with pytest.raises(ValueError, match=why):
        whole.divide([])


def test_seed_is_drawn_once() -> None:
    content = save(layers())
    options = options_for(content, [rules.random_unstructured(0.5)], PRUNED)
    options.recipe.ClearField("seed")
    assert "seed" in (WholePlan(options, split(content)[0], "1", SETTINGS).indivisible or "")
    assert seeded(options).recipe.HasField("seed")
    options.recipe.rules[0].CopyFrom(GLOBAL.to_message())
    assert seeded(options) == options


def test_lamp_across_parts_is_indivisible_and_within_one_is_not() -> None:
    content = save(layers())
    only = rules.lamp(0.5, include=["layers.0.*weight"])
    options = options_for(content, [only], PRUNED)
    files = files_of(result_of(options, content), 4)
    assert InParts(options, content, files).run() == at_once(options, content)
    whole = InParts(options_for(content, [rules.lamp(0.5)], PRUNED), content, files).whole()
    assert "not by single keys" in (whole.divide(files).indivisible or "")


def test_results_must_be_in_one_part_each() -> None:
    content = save(layers())
    options = options_for(content, [GLOBAL], PRUNED)
    whole = InParts(options, content, []).whole()
    names = [entry.name for entry in whole.result.tensors]
    with pytest.raises(ValueError, match=r"in one part, once; see 'embed\.weight'"):
        whole.divide([[name for name in names if name != "embed.weight"]])
    with pytest.raises(ValueError, match=r"'embed\.weight'"):
        whole.divide([names, ["embed.weight"]])


def test_nan_is_found_in_every_part() -> None:
    tensors = layers()
    tensors["layers.4.fc.weight"][3, 3] = torch.nan
    content = save(tensors)
    options = options_for(content, [GLOBAL], PRUNED)
    with pytest.raises(CheckpointError, match=r"'layers\.4\.fc\.weight' holds NaN"):
        InParts(options, content, files_of(result_of(options, content), 4)).run()
