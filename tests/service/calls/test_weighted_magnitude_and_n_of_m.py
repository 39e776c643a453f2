"""Wanda's metric and N:M sparsity over the wire, against an oracle in numpy, in every output format."""

import json

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load, save

from pruning_client import Client, Rule
from pruning_proto.names import HISTORY_KEY
from pruning_proto.v1 import pruning_pb2 as pb
from tests.servers import ServerProcess
from tests.service import raw

Array = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

RANDOM = np.random.default_rng(11)
LINEAR: Array = RANDOM.standard_normal((6, 16)).astype(np.float32)
CONV: Array = RANDOM.standard_normal((4, 8, 3, 4)).astype(np.float32)
BIAS: Array = RANDOM.standard_normal(6).astype(np.float32)
LINEAR_NORM: Array = RANDOM.random(16).astype(np.float32) * 9
CONV_NORM: Array = RANDOM.random(8).astype(np.float32) * 9
WEIGHTS = {"fc.weight": LINEAR, "conv.weight": CONV, "fc.bias": BIAS}
NORMS = {"fc.weight:in_norm": LINEAR_NORM, "conv.weight:in_norm": CONV_NORM}
PRIOR: dict[str, Flags] = {name: RANDOM.random(WEIGHTS[name].shape) < 0.7 for name in ("fc.weight", "conv.weight")}
"""1 = kept."""

WANDA = pb.Score(weighted_magnitude=pb.WeightedMagnitude())
MAGNITUDE = pb.Score(magnitude=pb.Magnitude())
RULES = {
    "Wanda": pb.Rule(score=WANDA, amount=pb.Amount(fraction=0.5)),
    "Wanda 2:4": pb.Rule(score=WANDA, granularity=pb.Granularity(n_of_m=pb.NOfM(n=2, m=4))),
    "magnitude 1:4": pb.Rule(score=MAGNITUDE, granularity=pb.Granularity(n_of_m=pb.NOfM(n=1, m=4))),
}


def products(name: str) -> Array:
    """|w| of each entry times the norm of its input channel, dim 1 of both layers."""
    weight, norm = WEIGHTS[name], NORMS[f"{name}:in_norm"]
    return np.abs(weight) * norm.reshape(1, -1, *[1] * (weight.ndim - 2))


def expected(name: str, rule: str, prior: Flags | None) -> Flags:
    """The mask by sorting: in each output channel, or in each group, pruned entries first, then the least scores."""
    score = np.abs(WEIGHTS[name]) if rule.startswith("magnitude") else products(name)
    kept_before = np.ones(score.shape, bool) if prior is None else prior
    groups = score.reshape(len(score), -1) if rule == "Wanda" else score.reshape(-1, 4)
    mask = kept_before.reshape(groups.shape).copy()
    for kept, scores in zip(mask, groups, strict=True):
        unpruned = int(kept.sum())
        left = {"Wanda": unpruned - round(unpruned / 2), "Wanda 2:4": 2, "magnitude 1:4": 1}[rule]
        order = np.lexsort((np.arange(kept.size), scores, kept))
        kept[order[: kept.size - min(left, unpruned)]] = False
    return mask.reshape(score.shape)


def sent(rule: str, *, with_prior: bool) -> bytes:
    bits = {f"{name}:mask_bits": np.packbits(kept, axis=None, bitorder="little") for name, kept in PRIOR.items()}
    norms = {} if rule.startswith("magnitude") else NORMS
    return save({**WEIGHTS, **norms, **(bits if with_prior else {})})


def masks_of(rule: str, *, with_prior: bool) -> dict[str, Flags]:
    return {name: expected(name, rule, PRIOR[name] if with_prior else None) for name in PRIOR}


@pytest.fixture(params=RULES)
def rule(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[False, True], ids=["dense", "prior masks"])
def with_prior(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def pruned(server: ServerProcess, rule: str, output: "pb.OutputForm", *, with_prior: bool) -> raw.Outcome:
    return raw.prune(server.address, sent(rule, with_prior=with_prior), rules=[RULES[rule]], output=output)


def test_format_pruned_has_zeros_and_no_norms(server: ServerProcess, rule: str, with_prior: bool) -> None:
    found = load(pruned(server, rule, pb.OUTPUT_FORM_PRUNED, with_prior=with_prior).data)
    masks = masks_of(rule, with_prior=with_prior)
    assert found.keys() == WEIGHTS.keys()
    for name, mask in masks.items():
        np.testing.assert_array_equal(found[name], np.where(mask, WEIGHTS[name], np.float32(0)))


def test_format_masked_has_original_and_mask(server: ServerProcess, rule: str, with_prior: bool) -> None:
    found = load(pruned(server, rule, pb.OUTPUT_FORM_MASKED, with_prior=with_prior).data)
    for name, mask in masks_of(rule, with_prior=with_prior).items():
        np.testing.assert_array_equal(found[f"{name}_orig"], WEIGHTS[name])
        np.testing.assert_array_equal(found[f"{name}_mask"], mask)


def test_format_mask_has_the_bits(server: ServerProcess, rule: str, with_prior: bool) -> None:
    found = load(pruned(server, rule, pb.OUTPUT_FORM_MASK, with_prior=with_prior).data)
    assert found.keys() == {f"{name}:mask_bits" for name in PRIOR}
    for name, mask in masks_of(rule, with_prior=with_prior).items():
        np.testing.assert_array_equal(found[f"{name}:mask_bits"], np.packbits(mask, axis=None, bitorder="little"))


def test_format_report_counts_what_is_pruned(server: ServerProcess, rule: str, with_prior: bool) -> None:
    report = pruned(server, rule, pb.OUTPUT_FORM_REPORT, with_prior=with_prior).report
    masks = masks_of(rule, with_prior=with_prior)
    assert {each.name: each.pruned for each in report.tensors} == {
        name: int((~mask).sum()) for name, mask in masks.items()
    }
    assert report.reproducible


def test_format_packed_unpacks_to_the_pruned_weights(server: ServerProcess, rule: str, with_prior: bool) -> None:
    with Client(server.address) as client:
        state_dict = load(sent(rule, with_prior=with_prior))
        found = client.prune(state_dict, Rule.from_message(RULES[rule]), output="packed").state_dict
    for name, mask in masks_of(rule, with_prior=with_prior).items():
        np.testing.assert_array_equal(found[name], np.where(mask, WEIGHTS[name], np.float32(0)))


def test_threshold_is_the_largest_product_that_was_pruned(server: ServerProcess) -> None:
    report = pruned(server, "Wanda", pb.OUTPUT_FORM_REPORT, with_prior=False).report
    for tensor in report.tensors:
        mask = expected(tensor.name, "Wanda", None)
        assert tensor.threshold == products(tensor.name)[~mask].max()


def test_the_plan_counts_the_bytes_of_the_norms(server: ServerProcess) -> None:
    weight = np.ones((1, 4096), np.float32)
    contents = [save({"w.weight": weight, "w.weight:in_norm": np.ones(4096, dtype)}) for dtype in (np.float32, float)]
    outcomes = [raw.prune(server.address, content, rules=[RULES["Wanda"]]) for content in contents]
    small, large = (outcome.plan.peak_bytes for outcome in outcomes)
    assert large - small >= 4 * 4096


def test_random_scores_of_n_of_m_depend_on_the_seed_only(server: ServerProcess) -> None:
    rule = pb.Rule(score=pb.Score(random=pb.RandomScore()), granularity=pb.Granularity(n_of_m=pb.NOfM(n=2, m=4)))
    content = save(WEIGHTS)
    first, second = (load(raw.prune(server.address, content, rules=[rule]).data) for _ in range(2))
    kept = first["fc.weight"] != 0
    assert (kept.reshape(-1, 4).sum(axis=1) == 2).all()
    np.testing.assert_array_equal(first["conv.weight"], second["conv.weight"])


def test_importance_scores_rank_groups(server: ServerProcess) -> None:
    scores = np.tile(np.array([3, 1, 2, 4], np.float32), LINEAR.size // 4).reshape(LINEAR.shape)
    rule = pb.Rule(
        score=pb.Score(importance_scores=pb.ImportanceScores()),
        granularity=pb.Granularity(n_of_m=pb.NOfM(n=2, m=4)),
    )
    content = save({"fc.weight": LINEAR, "fc.weight:scores": scores})
    found = load(raw.prune(server.address, content, rules=[rule]).data)["fc.weight"]
    np.testing.assert_array_equal(found, np.where(scores > 2, LINEAR, np.float32(0)))


def test_input_channels_may_be_along_dim_0(server: ServerProcess) -> None:
    score = pb.Score(weighted_magnitude=pb.WeightedMagnitude(dim=0))
    rule = pb.Rule(score=score, amount=pb.Amount(fraction=0.5))
    content = save({"fc.weight": np.ascontiguousarray(LINEAR.T), "fc.weight:in_norm": LINEAR_NORM})
    found = load(raw.prune(server.address, content, rules=[rule]).data)["fc.weight"]
    np.testing.assert_array_equal(found.T, np.where(expected("fc.weight", "Wanda", None), LINEAR, np.float32(0)))


def test_history_has_both_rules(server: ServerProcess) -> None:
    data = pruned(server, "Wanda 2:4", pb.OUTPUT_FORM_PRUNED, with_prior=False).data
    metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    (told,) = json.loads(metadata[HISTORY_KEY])
    assert told["recipe"]["rules"] == [{"score": {"weightedMagnitude": {}}, "granularity": {"nOfM": {"n": 2, "m": 4}}}]


def test_capabilities_list_both(server: ServerProcess) -> None:
    with Client(server.address) as client:
        offered = {method.name: method.parameters for method in client.capabilities().methods}
    assert {"amount", "scope", "input_dim", "bounds.max_sparsity"} < set(offered["wanda"])
    assert "granularity.n_of_m.m" in offered["n_of_m"]
