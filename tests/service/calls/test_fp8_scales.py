"""FP8 weights with scales over the wire, against values in fp64, in every output format."""

import pytest
import torch
from safetensors.torch import load, save

from pruning_client import Client, rules
from pruning_client.errors import CheckpointError, MismatchError
from pruning_client.results.output_format import Output
from pruning_client.results.report import Report
from tests.engine.packed import pack
from tests.engine.scaled import Tensors, best_half, random_codes, random_scale, values
from tests.servers import ServerProcess
from tests.service import raw

BLOCK = (4, 8)
WEIGHTS = {"a.weight": random_codes(18, 21, seed=1), "b.weight": random_codes(16, 24, seed=2)}
SCALES = {"a.weight_scale_inv": random_scale(5, 3, seed=3), "b.weight_scale_inv": random_scale(4, 3, seed=4)}
NORM = {"norm.weight": torch.ones(5)}
REAL = {name: values(codes, SCALES[f"{name}_scale_inv"], BLOCK).abs() for name, codes in WEIGHTS.items()}
KEPT = best_half(REAL)
CUT = max(float(real[~KEPT[name]].max()) for name, real in REAL.items())
"""The largest value that is pruned."""

GLOBAL = rules.l1_unstructured(0.5, scope="global")
ORDERS = {
    "scales first": {**SCALES, **NORM, **WEIGHTS},
    "weights first": {**WEIGHTS, **NORM, **SCALES},
}


def pruned(server: ServerProcess, tensors: Tensors, output: Output = "pruned") -> tuple[Tensors, Report]:
    with Client(server.address) as client:
        found = client.prune(tensors, GLOBAL, output=output)
    return found.state_dict, found.report


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.view(torch.uint8)


def zeroed() -> Tensors:
    """Return the bits of the weights where they are kept, and 0."""
    return {name: bits(codes) * KEPT[name] for name, codes in WEIGHTS.items()}


@pytest.mark.parametrize("output", ["pruned", "packed"])
@pytest.mark.parametrize("order", ORDERS)
def test_zeros_are_where_values_are_least(server: ServerProcess, order: str, output: Output) -> None:
    found, _ = pruned(server, ORDERS[order], output)
    assert found.keys() == ORDERS[order].keys()
    assert all(torch.equal(bits(found[name]), wanted) for name, wanted in zeroed().items())
    assert all(torch.equal(found[name], scale) for name, scale in SCALES.items())


def test_format_masked_has_codes_mask_and_scale(server: ServerProcess) -> None:
    found, _ = pruned(server, ORDERS["scales first"], "masked")
    for name, mask in KEPT.items():
        assert torch.equal(bits(found[f"{name}_orig"]), bits(WEIGHTS[name]))
        assert torch.equal(found[f"{name}_mask"], mask)
        assert torch.equal(found[f"{name}_scale_inv"], SCALES[f"{name}_scale_inv"])


def test_format_mask_has_bits_alone(server: ServerProcess) -> None:
    content = save(ORDERS["scales first"])
    found = load(raw.prune(server.address, content, rules=[GLOBAL.to_message()], output="OUTPUT_FORM_MASK").data)
    assert {name: bits.tolist() for name, bits in found.items()} == {
        f"{name}:mask_bits": pack(mask).tolist() for name, mask in KEPT.items()
    }


def test_report_counts_exactly_and_has_values(server: ServerProcess) -> None:
    _, report = pruned(server, ORDERS["scales first"])
    assert {tensor.name: tensor.pruned for tensor in report.tensors} == {
        name: int((~mask).sum()) for name, mask in KEPT.items()
    }
    assert {tensor.threshold for tensor in report.tensors} == {CUT}
    assert report.reproducible


def test_scales_are_counted_in_the_peak(server: ServerProcess) -> None:
    codes = random_codes(4096, 2)
    contents = [save({"w.weight": codes, "w.weight_scale": random_scale(count, 1)}) for count in (1, 4096)]
    small, large = (raw.prune(server.address, each, rules=[GLOBAL.to_message()]).plan.peak_bytes for each in contents)
    assert large - small >= (4 + 8) * 4095


def test_shared_scale_is_sent_with_each_weight(server: ServerProcess) -> None:
    scale = torch.tensor([2.0])
    tensors = {
        f"{name}.weight{end}": each for name in "ab" for end, each in (("", random_codes(8, 8)), ("_scale", scale))
    }
    found, _ = pruned(server, tensors)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[f"{name}.weight_scale"], scale) for name in "ab")


def test_tied_weights_stay_tied(server: ServerProcess) -> None:
    tensors = {"a.weight": WEIGHTS["a.weight"], "a.weight_scale_inv": SCALES["a.weight_scale_inv"]}
    tied = {**tensors, **{name.replace("a.", "b."): tensor for name, tensor in tensors.items()}}
    found, report = pruned(server, tied)
    assert list(found) == list(tied)
    assert found["a.weight"].data_ptr() == found["b.weight"].data_ptr()
    assert len(report.tensors) == 1


def test_infinite_scale_is_refused_by_name(server: ServerProcess) -> None:
    wrong = {**WEIGHTS, **SCALES, "a.weight_scale_inv": SCALES["a.weight_scale_inv"] * torch.inf}
    with pytest.raises(CheckpointError, match=r"scale 'a\.weight_scale_inv' holds inf at position 0"):
        pruned(server, wrong)


def test_missing_scale_is_refused_by_name(server: ServerProcess) -> None:
    with pytest.raises(MismatchError, match=r"'b\.weight', an FP8 weight without a scale"):
        pruned(server, {**WEIGHTS, "a.weight_scale_inv": SCALES["a.weight_scale_inv"]})
