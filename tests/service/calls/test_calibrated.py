"""Swaps, updates, the scores obs and alps and scans over the wire, in every output format, against formulas in fp64."""

import asyncio

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import load, save

from pruning_client import AsyncClient, Client, Report, Rule
from pruning_client.torch import collect_statistics
from pruning_proto.v1 import pruning_pb2 as pb
from tests.engine import calibrated
from tests.engine.calibrated import error, gram, inputs
from tests.servers import ServerProcess
from tests.service import raw

Flags = npt.NDArray[np.bool_]

torch.manual_seed(9)
X = inputs(16)
CONV_X = inputs(12, seed=1)
WEIGHTS = {"fc.weight": torch.randn(6, 16), "conv.weight": torch.randn(5, 3, 2, 2)}
INPUTS = {"fc.weight": X, "conv.weight": CONV_X}
GRAMS = {f"{name}:in_gram": gram(rows) for name, rows in INPUTS.items()}
BIAS = {"fc.bias": torch.randn(6)}
HALF = pb.Amount(fraction=0.5)
MAGNITUDE = pb.Score(magnitude=pb.Magnitude())
OBS = pb.Score(obs=pb.ObsScore())
ALPS = pb.Score(alps=pb.Alps())
REFIT = pb.Update(refit=pb.Refit(steps=100))
SPARSEGPT = pb.Update(sparsegpt=pb.SparseGpt())

RULES = {
    "swaps": pb.Rule(score=MAGNITUDE, amount=HALF, swaps=pb.Swaps(), input_dim=1),
    "refit": pb.Rule(score=MAGNITUDE, amount=HALF, update=REFIT, input_dim=1),
    "swaps and refit": pb.Rule(score=MAGNITUDE, amount=HALF, swaps=pb.Swaps(), update=REFIT, input_dim=1),
    "sparsegpt": pb.Rule(score=OBS, amount=HALF, update=SPARSEGPT, input_dim=1),
    "sparsegpt by rows": pb.Rule(score=OBS, amount=HALF, update=SPARSEGPT, input_dim=1, scope=pb.SCOPE_OUTPUT_CHANNEL),
    "alps by rows": pb.Rule(score=ALPS, amount=HALF, update=REFIT, input_dim=1, scope=pb.SCOPE_OUTPUT_CHANNEL),
    "obs alone": pb.Rule(score=OBS, amount=HALF, input_dim=1),
}
UPDATING = [name for name, rule in RULES.items() if rule.HasField("update")]
LAYER = torch.nn.Linear(16, 6)
BITS = {"fc.weight:mask_bits": np.packbits(np.arange(96) % 5 > 0, bitorder="little")}


def sent(dtype: torch.dtype = torch.float32) -> bytes:
    weights = {name: weight.to(dtype) for name, weight in {**WEIGHTS, **BIAS}.items()}
    return save({**weights, **GRAMS})


def pruned(server: ServerProcess, rule: str, output: "pb.OutputForm", content: bytes | None = None) -> raw.Outcome:
    return raw.prune(server.address, sent() if content is None else content, rules=[RULES[rule]], output=output)


def rows_of(weight: torch.Tensor) -> torch.Tensor:
    return weight.reshape(len(weight), -1)


rules = pytest.mark.parametrize("rule", RULES)


@rules
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_half_is_pruned_exactly_and_the_error_is_predicted(
    server: ServerProcess, rule: str, dtype: torch.dtype
) -> None:
    outcome = pruned(server, rule, pb.OUTPUT_FORM_PRUNED, sent(dtype))
    found = load(outcome.data)
    assert found.keys() == {*WEIGHTS, *BIAS}
    for report in outcome.report.tensors:
        before, after = rows_of(WEIGHTS[report.name].to(dtype)), rows_of(found[report.name])
        assert int((after == 0).sum()) == before.numel() // 2 == report.pruned
        expected = error(before, after, INPUTS[report.name])
        assert report.predicted_error == pytest.approx(expected, rel=1e-3)
        assert report.predicted_error <= report.masked_error * (1 + 1e-6)
    assert outcome.report.reproducible == (rule == "swaps")


@pytest.mark.parametrize("rule", ["refit", "sparsegpt"])
def test_weights_are_those_of_the_formula(server: ServerProcess, rule: str) -> None:
    found = load(pruned(server, rule, pb.OUTPUT_FORM_PRUNED).data)
    for name, matrix in INPUTS.items():
        before, after = rows_of(WEIGHTS[name]), rows_of(found[name])
        formula, damping = (calibrated.least_squares, 0.001) if rule == "refit" else (calibrated.eliminated, 0.01)
        torch.testing.assert_close(
            after.double(), formula(before, after != 0, gram(matrix), damping), rtol=1e-3, atol=1e-3
        )


@rules
def test_masked_and_packed_are_what_pruned_is(server: ServerProcess, rule: str) -> None:
    found = load(pruned(server, rule, pb.OUTPUT_FORM_PRUNED).data)
    masked = load(pruned(server, rule, pb.OUTPUT_FORM_MASKED).data)
    with Client(server.address) as client:
        packed = client.prune(load(sent()), Rule.from_message(RULES[rule]), output="packed").state_dict
    for name in WEIGHTS:
        mask = masked[f"{name}_mask"]
        assert torch.equal(torch.where(mask, masked[f"{name}_orig"], 0.0), found[name])
        assert torch.equal(masked[f"{name}_orig"][~mask], WEIGHTS[name][~mask])
        assert torch.equal(packed[name], found[name])


@rules
def test_report_alone_says_the_same(server: ServerProcess, rule: str) -> None:
    report = pruned(server, rule, pb.OUTPUT_FORM_REPORT).report
    assert list(report.tensors) == list(pruned(server, rule, pb.OUTPUT_FORM_PRUNED).report.tensors)


@pytest.mark.parametrize("rule", UPDATING)
def test_format_mask_refuses_updates(server: ServerProcess, rule: str) -> None:
    assert pruned(server, rule, pb.OUTPUT_FORM_MASK).failure.reason == "INVALID_RECIPE"


def test_format_mask_has_swapped_masks(server: ServerProcess) -> None:
    bits = load(pruned(server, "swaps", pb.OUTPUT_FORM_MASK).data)["fc.weight:mask_bits"].numpy()
    found = load(pruned(server, "swaps", pb.OUTPUT_FORM_PRUNED).data)["fc.weight"]
    assert np.unpackbits(bits, bitorder="little").tolist() == (found != 0).flatten().int().tolist()


@rules
def test_prior_mask_stays_pruned(server: ServerProcess, rule: str) -> None:
    bits = torch.from_numpy(BITS["fc.weight:mask_bits"])
    content = save({**WEIGHTS, **GRAMS, "fc.weight:mask_bits": bits})
    found = load(pruned(server, rule, pb.OUTPUT_FORM_PRUNED, content).data)["fc.weight"].flatten()
    prior = torch.arange(96) % 5 > 0
    assert (found[~prior] == 0).all()
    unpruned = int(prior.sum())
    rest = round(unpruned / 2)
    assert abs(int((found != 0).sum()) - (unpruned - rest)) <= (6 if rule.endswith("rows") else 0)


def test_shared_gram_is_sent_once(server: ServerProcess) -> None:
    names = ("q.weight", "k.weight")
    content = save({**{name: WEIGHTS["fc.weight"].clone() for name in names}, "q.weight:in_gram": gram(X)})
    alias = {"k.weight:in_gram": "q.weight:in_gram"}
    outcome = raw.prune(server.address, content, rules=[RULES["sparsegpt"]], auxiliary_aliases=alias)
    found = load(outcome.data)
    assert torch.equal(found["q.weight"], found["k.weight"])
    assert found["q.weight"].count_nonzero() == 48


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), -1.0], ids=str)
def test_wrong_statistics_are_refused_by_name(server: ServerProcess, value: float) -> None:
    wrong = gram(X)
    wrong[3, 3] = value
    content = save({"fc.weight": WEIGHTS["fc.weight"], "fc.weight:in_gram": wrong})
    failure = pruned(server, "refit", pb.OUTPUT_FORM_PRUNED, content).failure
    assert (failure.reason, failure.metadata["tensor"]) == ("INVALID_AUXILIARY", "fc.weight:in_gram")


def test_bias_takes_up_the_mean(server: ServerProcess) -> None:
    sums = {"fc.weight:in_sum": X.sum(0), "fc.weight:in_count": torch.tensor(float(len(X)))}
    content = save({"fc.weight": WEIGHTS["fc.weight"], **BIAS, **sums})
    update = pb.Update(bias_compensation=pb.BiasCompensation())
    rule = pb.Rule(score=MAGNITUDE, amount=HALF, update=update, input_dim=1)
    found = load(raw.prune(server.address, content, rules=[rule]).data)
    delta = (WEIGHTS["fc.weight"] - found["fc.weight"]).double() @ X.mean(0)
    torch.testing.assert_close(found["fc.bias"], BIAS["fc.bias"] + delta.float(), rtol=1e-5, atol=1e-6)


def scan_errors(weight: torch.Tensor, rows: torch.Tensor, sparsities: tuple[float, ...]) -> list[float]:
    order = weight.abs().flatten().argsort(stable=True)
    found = []
    for sparsity in sparsities:
        after = weight.flatten().clone()
        after[order[: round(sparsity * weight.numel())]] = 0
        found.append(error(rows_of(weight), rows_of(after.view(weight.shape)), rows))
    return found


def test_scan_returns_the_curve_of_each_tensor(server: ServerProcess) -> None:
    rule = pb.Rule(score=MAGNITUDE, amount=HALF, input_dim=1)
    outcome = raw.prune(server.address, sent(), rules=[rule], output=pb.OUTPUT_FORM_SCAN, scan_sparsities=[0.75, 0.25])
    assert outcome.data == b""
    for tensor in outcome.report.tensors:
        assert [point.sparsity for point in tensor.curve] == [0.25, 0.75]
        expected = scan_errors(WEIGHTS[tensor.name], INPUTS[tensor.name], (0.25, 0.75))
        assert [point.predicted_error for point in tensor.curve] == pytest.approx(expected, rel=1e-4)
        assert tensor.pruned == 0


def test_client_scans(server: ServerProcess) -> None:
    rule = Rule.from_message(pb.Rule(score=MAGNITUDE, amount=HALF, input_dim=1))
    with Client(server.address) as client:
        report = client.scan(load(sent()), rule, sparsities=[0.5])
        weak = client.scan(dict(WEIGHTS), Rule.from_message(pb.Rule(score=MAGNITUDE, amount=HALF)))
    assert [len(tensor.curve) for tensor in report.tensors] == [1, 1]
    assert not report.tensors[0].curve[0].is_weak
    assert [len(tensor.curve) for tensor in weak.tensors] == [9, 9]
    assert weak.tensors[0].curve[0].is_weak
    assert report.to_dict()["tensors"][0]["curve"][0]["sparsity"] == 0.5


def test_async_client_scans(server: ServerProcess) -> None:
    rule = Rule.from_message(pb.Rule(score=MAGNITUDE, amount=HALF, input_dim=1))

    async def scan() -> Report:
        async with AsyncClient(server.address) as client:
            return await client.scan(load(sent()), rule, sparsities=[0.5])

    assert [len(tensor.curve) for tensor in asyncio.run(scan()).tensors] == [1, 1]


def test_client_scans_with_statistics_of_any_rule(server: ServerProcess) -> None:
    statistics = collect_statistics(torch.nn.Sequential(LAYER), [X.float()], kind="gram")
    rule = Rule.from_message(pb.Rule(score=MAGNITUDE, amount=HALF))
    with Client(server.address) as client:
        report = client.scan(torch.nn.Sequential(LAYER).state_dict(), rule, statistics=statistics, sparsities=[0.5])
    (point,) = report.tensors[0].curve
    expected = scan_errors(LAYER.weight.detach(), X, (0.5,))
    assert not point.is_weak
    assert [point.predicted_error] == pytest.approx(expected, rel=1e-3)
