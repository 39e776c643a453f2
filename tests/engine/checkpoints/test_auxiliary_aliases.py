"""Auxiliary tensors that several weights share: what an alias may be, and who uses the tensor."""

import gc
import weakref

import numpy as np
import pytest

from pruning_engine import PruningError, Reason
from pruning_engine.buffer import Buffer
from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.execution.executor import Pruning
from pruning_engine.execution.parameters import ReceivedParameter
from pruning_engine.execution.prune import prune_buffers
from pruning_engine.planning.options import PlanOptions
from pruning_engine.planning.plan import Plan
from pruning_engine.planning.planner import make_plan
from pruning_engine.recipe import Fraction, Recipe, Rule, Selector, WeightedMagnitude

Q, K, V = (f"{name}.weight" for name in "qkv")
NORMS = f"{Q}:in_norm"
SPECS = (
    TensorSpec(NORMS, "F32", (4,)),
    TensorSpec(Q, "F32", (2, 4)),
    TensorSpec(K, "F32", (3, 4)),
    TensorSpec(V, "F32", (5, 6)),
)


def plan_of(aliases: dict[str, str], *include: str, specs: tuple[TensorSpec, ...] = SPECS) -> Plan:
    rule = Rule(score=WeightedMagnitude(), amount=Fraction(0.5), select=Selector(include or (Q, K)))
    return make_plan(Recipe((rule,), seed=0), specs, options=PlanOptions(auxiliary_aliases=aliases))


def buffers() -> dict[str, Buffer]:
    values = {
        NORMS: [1, 2, 3, 4],
        Q: [[1, 1, 1, 1]] * 2,
        K: [[4, 3, 2, 1]] * 3,
        V: [[1] * 6] * 5,
    }
    arrays = {name: np.array(value, np.float32) for name, value in values.items()}
    return {name: Buffer("F32", array.shape, array) for name, array in arrays.items()}


def test_users_have_the_shared_tensor_among_their_sources() -> None:
    q, k, v = plan_of({f"{K}:in_norm": NORMS}).parameters
    assert (q.sources, k.sources, v.sources) == ((Q, NORMS), (K, NORMS), (V,))


def test_each_user_is_ranked_by_the_shared_tensor() -> None:
    results = prune_buffers(plan_of({f"{K}:in_norm": NORMS}), buffers()).results
    assert [results[name][0].buffer.host().array[0].tolist() for name in (Q, K)] == [[0, 0, 1, 1], [0, 3, 2, 0]]


def test_owner_of_the_tensor_need_not_use_it() -> None:
    assert [bool(each.rules) for each in plan_of({f"{K}:in_norm": NORMS}, K).parameters] == [False, True, False]


def test_tensor_is_released_with_its_last_user() -> None:
    plan = plan_of({f"{K}:in_norm": NORMS})
    tensors = buffers()
    shared = weakref.ref(tensors[NORMS].array)
    pruning = Pruning(plan)
    left = []
    for planned in plan.parameters[:2]:
        pruning.add(ReceivedParameter(planned, {name: tensors[name] for name in planned.sources}))
        if planned.name == K:
            tensors.clear()
        gc.collect()
        left.append(shared() is not None)
    assert left == [True, False]


@pytest.mark.parametrize(
    ("alias", "target", "words"),
    [
        (K, NORMS, "is not the name of an auxiliary tensor"),
        (f"{K}:in_norm", Q, "must be an auxiliary tensor of the same kind"),
        (f"{K}:in_norm", f"{V}:in_norm", "is not in the checkpoint"),
        (NORMS, NORMS, "is a tensor of the checkpoint itself"),
        ("o.weight:in_norm", NORMS, "has no weight"),
        (f"{V}:in_norm", NORMS, "it must have shape [5] or [6]"),
        (f"{K}:in_sum2", NORMS, "of the same kind, ':in_sum2'"),
    ],
    ids=["no auxiliary name", "a weight", "missing", "in the file", "no weight", "another size", "another kind"],
)
def test_invalid_alias_is_refused_by_its_path(alias: str, target: str, words: str) -> None:
    with pytest.raises(PruningError) as refused:
        plan_of({alias: target})
    assert refused.value.reason is Reason.INVALID_ALIAS
    assert refused.value.path == f'auxiliary_aliases["{alias}"]'
    assert words in str(refused.value)


@pytest.mark.parametrize("target", [f"{K}:in_norm", f"{V}:in_norm"], ids=["itself", "a chain"])
def test_alias_of_an_alias_is_refused(target: str) -> None:
    with pytest.raises(PruningError, match="names another alias"):
        plan_of({f"{K}:in_norm": target, f"{V}:in_norm": f"{K}:in_norm"})


def test_alias_that_no_rule_uses_is_refused_by_its_path() -> None:
    with pytest.raises(PruningError, match="is not used") as refused:
        plan_of({f"{K}:in_norm": NORMS}, Q)
    assert refused.value.reason is Reason.UNUSED_COMPANION
    assert refused.value.path == f'auxiliary_aliases["{K}:in_norm"]'
