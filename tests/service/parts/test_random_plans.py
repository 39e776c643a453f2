"""Whatever the rules, the model and the parts: the bytes and the report of one call."""

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from pruning_client import Rule, rules
from pruning_proto.v1 import pruning_pb2 as pb
from tests.service.parts.in_parts import InParts, at_once, options_for, result_of, shuffled

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int8]
FLOATS = [dtype for dtype in DTYPES if dtype.is_floating_point]
SCOPES = ["local", "global"]
PRIORS = ["mask", "zeros", "history"]
OUTPUTS = [pb.OUTPUT_FORM_PRUNED, pb.OUTPUT_FORM_MASKED, pb.OUTPUT_FORM_MASK, pb.OUTPUT_FORM_REPORT]
LAYERS = 5


@st.composite
def models(draw: st.DrawFn) -> dict[str, torch.Tensor]:
    """Return layers whose weights may be pairs, of any dtype, with zeros and with masks."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    tensors: dict[str, torch.Tensor] = {}
    for at in range(LAYERS):
        shape = draw(st.sampled_from([(6, 8), (8, 4), (1, 16), (4, 8)]))
        weight = torch.randn(shape, generator=generator)
        weight = (weight * 4).round() if at % 2 else weight
        dtypes = FLOATS if at == 1 else DTYPES  # which all rules select, so that none of them selects nothing
        weight = (weight * draw(st.sampled_from([1, 8]))).to(draw(st.sampled_from(dtypes)))
        kind = draw(st.sampled_from(["alone", "alone", "pair", "bits"]))
        name = f"layers.{at}.weight"
        if kind == "pair":
            tensors |= {f"{name}_orig": weight, f"{name}_mask": torch.rand(shape, generator=generator) < 0.7}
        else:
            tensors[name] = weight
        if kind == "bits":
            tensors[f"{name}:mask_bits"] = torch.full((weight.numel() // 8,), 0xB7, dtype=torch.uint8)
        tensors[f"layers.{at}.bias"] = torch.randn(shape[0], generator=generator)
    return tensors


@st.composite
def entry_rules(draw: st.DrawFn) -> Rule:
    """Return a rule on some of the layers."""
    include = draw(st.sampled_from([["layers.*"], ["*.weight"], ["layers.[0-2].weight"], ["re:.*[13]\\.weight"]]))
    amount = draw(st.sampled_from([0.0, 0.25, 0.5, 1.0]))
    prior = draw(st.sampled_from(PRIORS))
    match draw(st.sampled_from(["magnitude", "magnitude", "random", "channels"])):
        case "magnitude":
            return rules.l1_unstructured(amount, include=include, scope=draw(st.sampled_from(SCOPES)), prior=prior)  # type: ignore[arg-type]
        case "random":
            return rules.random_unstructured(amount, include=include, scope=draw(st.sampled_from(SCOPES)), prior=prior)  # type: ignore[arg-type]
        case _:
            return rules.ln_structured(amount, n=2, dim=0, include=["*.weight"], prior=prior)  # type: ignore[arg-type]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    model=models(),
    each=st.lists(entry_rules(), min_size=1, max_size=3),
    output=st.sampled_from(OUTPUTS),
    parts=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_parts_are_one_call(
    model: dict[str, torch.Tensor], each: list[Rule], output: "pb.OutputForm", parts: int, seed: int
) -> None:
    content = save(model)
    using_masks = rules.identity(include=[f"layers.{at}.weight" for at in range(LAYERS)])
    options = options_for(content, [using_masks, *each], output)
    found = InParts(options, content, shuffled(result_of(options, content), parts, seed))
    got, expected = found.run(), at_once(options, content)
    assert got.report == expected.report
    assert got.data == expected.data
