"""Statistics over the wire: shared auxiliary tensors, input dims, and what a plan says about both."""

import numpy as np
import pytest
from safetensors.numpy import load, save

from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from tests.servers import ServerProcess
from tests.service import raw

Q, K = "q.weight", "k.weight"
NORMS = f"{Q}:in_norm"
WEIGHTS = {
    NORMS: np.array([1, 2, 3, 4], np.float32),
    Q: np.ones((2, 4), np.float32),
    K: np.array([[4, 3, 2, 1]] * 4, np.float32),
}
WANDA = pb.Rule(input_dim=1, score=pb.Score(weighted_magnitude=pb.WeightedMagnitude()), amount=pb.Amount(fraction=0.5))
ROWS = pb.Rule(score=pb.Score(magnitude=pb.Magnitude()), amount=pb.Amount(fraction=0.5), scope=pb.SCOPE_OUTPUT_CHANNEL)
ALIAS = {f"{K}:in_norm": NORMS}


def answered(server: ServerProcess, rule: pb.Rule, *, is_plan: bool = False, **fields: object) -> raw.Outcome:
    """Prune k, and for Wanda q too, or only plan it: then the header alone is sent."""
    content = save(WEIGHTS if rule is WANDA else {K: WEIGHTS[K]})
    if not is_plan:
        return raw.prune(server.address, content, rules=[rule], **fields)
    first = raw.options(content, [rule], pb.OUTPUT_FORM_PLAN, **fields)
    header_bytes = 8 + int.from_bytes(content[:8], "little")
    return raw.call(server.address, [first, *raw.data(content[:header_bytes])])


def test_shared_statistics_are_sent_once(server: ServerProcess) -> None:
    outcome = answered(server, WANDA, auxiliary_aliases=ALIAS)
    result = load(outcome.data)
    assert [result[name][0].tolist() for name in (Q, K)] == [[0, 0, 1, 1], [0, 3, 2, 0]]


def test_plan_says_which_auxiliary_tensors_are_used(server: ServerProcess) -> None:
    outcome = answered(server, WANDA, is_plan=True, auxiliary_aliases=ALIAS)
    assert {each.name: list(each.auxiliary) for each in outcome.plan.tensors} == {Q: [":in_norm"], K: [":in_norm"]}


def test_plan_may_skip_what_no_rule_uses(server: ServerProcess) -> None:
    content = save(WEIGHTS)
    asked = raw.options(content, [raw.l1(0.5)], pb.OUTPUT_FORM_PLAN, skip_unused_auxiliary=True)
    header_bytes = 8 + int.from_bytes(content[:8], "little")
    outcome = raw.call(server.address, [asked, *raw.data(content[:header_bytes])])
    assert {each.name: list(each.auxiliary) for each in outcome.plan.tensors} == {Q: [], K: []}


@pytest.mark.parametrize(
    ("fields", "dim"),
    [({"model_type": "gpt2", "input_dims": {K: 1}}, 1), ({"model_type": "llama"}, 1), ({"input_dims": {K: -2}}, 0)],
    ids=["the weight", "the architecture", "from the last"],
)
def test_plan_says_the_input_dim(server: ServerProcess, fields: dict[str, object], dim: int) -> None:
    outcome = answered(server, ROWS, is_plan=True, **fields)
    assert [tensor.input_dim for tensor in outcome.plan.tensors] == [dim]


@pytest.mark.parametrize(
    ("rule", "fields", "reason", "path"),
    [
        (ROWS, {}, Reason.INPUT_DIM_UNKNOWN, "recipe.rules[0].input_dim"),
        (ROWS, {"input_dims": {"v": 0}}, Reason.SELECTS_NOTHING, 'input_dims["v"]'),
        (ROWS, {"input_dims": {K: 2}}, Reason.DIM_OUT_OF_RANGE, f'input_dims["{K}"]'),
        (WANDA, {"auxiliary_aliases": {K: NORMS}}, Reason.INVALID_ALIAS, f'auxiliary_aliases["{K}"]'),
        (ROWS, {"skip_unused_auxiliary": True}, Reason.INVALID_RECIPE, "skip_unused_auxiliary"),
        (ROWS, {"scan_sparsities": [0.5]}, Reason.INVALID_RECIPE, "scan_sparsities"),
        (ROWS, {"model_type": "x" * 257}, Reason.INVALID_RECIPE, "model_type"),
        (ROWS, {"input_dims": {str(n): 0 for n in range(50_001)}}, Reason.INVALID_RECIPE, "input_dims"),
        (
            WANDA,
            {"auxiliary_aliases": {f"{n}:in_norm": NORMS for n in range(10_001)}},
            Reason.INVALID_RECIPE,
            "auxiliary_aliases",
        ),
    ],
    ids=[
        *("unknown dim", "no weight", "no dim", "no auxiliary tensor", "skip with weights", "scan", "long type"),
        *("many dims", "many aliases"),
    ],
)
def test_invalid_option_is_refused_by_its_path(
    server: ServerProcess, rule: pb.Rule, fields: dict[str, object], reason: Reason, path: str
) -> None:
    outcome = answered(server, rule, **fields)  # type: ignore[arg-type]
    assert outcome.failure.reason == reason
    assert outcome.failure.violations[0].field == path
