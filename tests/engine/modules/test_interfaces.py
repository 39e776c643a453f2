"""Three interfaces, one core: tensors, modules and state dicts are pruned alike, and each takes what another left."""

import pytest
import torch
from torch.nn.utils import prune as torch_prune

import pruning_engine as prune
from pruning_engine.recipe import Channels, Count, Entries, Fraction, Granularity, Magnitude, Random, Scope, Score
from tests.engine.pruned_modules import mask_of, module_of, weight_of

WEIGHT = torch.randn(8, 6, generator=torch.Generator().manual_seed(3))

CASES = [
    ("L1Unstructured", {}, Magnitude(), Entries()),
    ("RandomUnstructured", {"seed": 11}, Random(), Entries()),
    ("LnStructured", {"n": 2, "dim": 0}, Magnitude(2.0), Channels(0)),
    ("LnStructured", {"n": 1, "dim": -1}, Magnitude(1.0), Channels(-1)),
    ("RandomStructured", {"dim": 1, "seed": 11}, Random(), Channels(1)),
]


@pytest.mark.parametrize(
    ("method", "options", "score", "granularity"),
    CASES,
    ids=["l1", "random", "l2 rows", "l1 columns", "random columns"],
)
def test_a_module_and_a_state_dict_lose_the_same_entries(
    method: str, options: dict[str, int], score: Score, granularity: Granularity
) -> None:
    module = module_of(WEIGHT.clone())
    getattr(prune, method).apply(module, "weight", amount=0.3, **options)
    rule = prune.Rule(score=score, amount=Fraction(0.3), granularity=granularity)
    result = prune.prune_state_dict({"weight": WEIGHT}, prune.Recipe((rule,), seed=11), output="masked")
    assert torch.equal(mask_of(module), torch.as_tensor(result.state_dict["weight_mask"]).float())


def test_a_tensor_and_a_module_lose_the_same_entries() -> None:
    module = prune.l1_unstructured(module_of(WEIGHT.clone()), "weight", 0.3)
    assert torch.equal(prune.L1Unstructured(0.3).prune(WEIGHT), weight_of(module))


def test_modules_and_a_state_dict_share_one_global_amount_alike() -> None:
    model = torch.nn.Sequential(module_of(WEIGHT[:3].clone()), module_of(WEIGHT[3:].clone()))
    rule = prune.Rule(score=Magnitude(), amount=Fraction(0.5), scope=Scope.GLOBAL)
    pruned = prune.prune_state_dict(model.state_dict(), prune.Recipe((rule,))).state_dict
    prune.global_unstructured([(module, "weight") for module in model], prune.L1Unstructured, amount=0.5)
    for name, module in model.named_children():
        assert torch.equal(weight_of(module), torch.as_tensor(pruned[f"{name}.weight"]))


def test_what_torch_pruned_goes_through_the_state_dict_and_back() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 3))
    torch_prune.l1_unstructured(model[0], "weight", 4)  # type: ignore[no-untyped-call]  # torch's
    recipe = prune.Recipe((prune.Rule(score=Magnitude(), amount=Count(4)),))
    model.load_state_dict(prune.prune_state_dict(model.state_dict(), recipe, output="masked").state_dict)
    assert int(mask_of(model[0]).sum()) == 4
    prune.l1_unstructured(model[0], "weight", 4)
    assert not weight_of(model[0]).any()


def test_a_masked_result_loads_into_a_module_that_went_through_identity() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 3))
    recipe = prune.Recipe((prune.Rule(score=Magnitude(), amount=Count(5)),))
    result = prune.prune_state_dict(model.state_dict(), recipe, output="masked")
    prune.identity(model[0], "weight")
    model.load_state_dict(result.state_dict)
    model(torch.ones(4))
    assert int((weight_of(model[0]) == 0).sum()) == 5


def test_remove_leaves_the_bytes_that_a_state_dict_would() -> None:
    module = prune.remove(prune.l1_unstructured(module_of(WEIGHT.clone()), "weight", 0.3), "weight")
    rule = prune.Rule(score=Magnitude(), amount=Fraction(0.3))
    pruned = prune.prune_state_dict({"weight": WEIGHT}, prune.Recipe((rule,))).state_dict["weight"]
    assert torch.equal(weight_of(module).detach().view(torch.int32), torch.as_tensor(pruned).view(torch.int32))
