"""Calls that do not fit the interface, as articles and forum answers show them: the error shows the call that does."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import pruning_engine
from pruning_engine.errors import PruningError

prune: Any = pruning_engine
"""Without its types, which the calls do not fit."""

METHOD = prune.L1Unstructured(0.5)


def model() -> nn.Sequential:
    """A convolution, and a linear layer one level below."""
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 2, 3), block=nn.Sequential(nn.Linear(4, 4)), act=nn.ReLU()))


def conv() -> Any:
    return model().conv


def sgd() -> torch.optim.Optimizer:
    return torch.optim.SGD(model().parameters(), lr=1.0)


RIGHT_LN = r'ln_structured\(model\.conv, "weight", amount=0\.5, n=2, dim=0\)'
RIGHT_GLOBAL = r'global_unstructured\(\[\(model\.linear, "weight"\)\], pruning_method=L1Unstructured, amount=0\.5\)'
PAIR = r'write parameters=\[\(model\.linear, "weight"\), \.\.\.\]'

CALLS: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: prune.ln_structured(model(), "conv.weight", METHOD), TypeError, RIGHT_LN),
    (lambda: prune.ln_structured(conv(), "weight", 0.5), TypeError, "needs n and dim; the call is ln_structured"),
    (lambda: prune.ln_structured(conv(), "weight", METHOD, 2, 0), TypeError, "a method is not an amount"),
    (lambda: prune.l1_unstructured(conv(), "weight", prune.L1Unstructured), TypeError, "a method is not an amount"),
    (lambda: prune.l1_unstructured(model(), "conv.weight", 0.5), AttributeError, r'model\.conv, "weight"'),
    (
        lambda: prune.identity(model(), "block.0.weight"),
        AttributeError,
        r'model\.get_submodule\("block\.0"\), "weight"',
    ),
    (
        lambda: prune.l1_unstructured(conv(), "wieght", 0.5),
        AttributeError,
        "mean 'weight'.; its parameters: weight, bias",
    ),
    (lambda: prune.l1_unstructured(model(), "weight", 0.5), AttributeError, r'in its modules, .*model\.conv, "weight"'),
    (lambda: prune.identity(model(), "conv"), TypeError, "is Conv2d, a module; .* parameters: weight, bias"),
    (lambda: prune.identity(model().act, "weight"), AttributeError, "ReLU has no parameter 'weight'; it has no"),
    (lambda: prune.l1_unstructured(conv(), "weight", "50%"), TypeError, "'50%' is not a number; .*; 0.5 is 50 percent"),
    (lambda: prune.l1_unstructured(conv(), "weight", "0.5"), TypeError, "0.5 is 50 percent"),
    (lambda: prune.l1_unstructured(conv(), "weight", 30.0), ValueError, "out of range.*; 0.3 is 30 percent"),
    (
        lambda: prune.l1_unstructured(conv(), "weight", ammount=0.5),
        TypeError,
        "'ammount', and takes module, name, amount",
    ),
    (lambda: prune.l1_unstructured(conv(), 0.5), TypeError, 'needs amount; .* "weight", amount=0.5'),
    (lambda: prune.identity(conv().weight, "weight"), TypeError, "got Parameter, which does not know its module"),
    (lambda: prune.identity(conv(), conv().weight), TypeError, "name of a parameter of Conv2d, got Parameter"),
    (lambda: prune.identity(model().state_dict(), "conv.weight"), TypeError, "pruned with prune_state_dict"),
    (lambda: prune.identity(model()), TypeError, "needs name; the call is identity"),
    (lambda: prune.ln_structured(conv(), "weight", 0.5, 2, "0"), TypeError, "dim='0' is not an integer"),
    (lambda: prune.random_structured(conv(), "weight", 0.5), TypeError, "needs dim; the call is random_structured"),
    (
        lambda: prune.l1_unstructured(conv(), "weight", 0.5, [1]),
        TypeError,
        "importance_scores is a torch tensor, got list",
    ),
    (lambda: prune.custom_from_mask(conv(), "weight", np.ones(2)), TypeError, "mask is a torch tensor, got ndarray"),
    (lambda: prune.custom_from_mask(conv(), "weight"), TypeError, "needs mask; the call is custom_from_mask"),
    (lambda: prune.L1Unstructured.apply(conv(), "weight"), TypeError, r"the call is L1Unstructured\.apply\("),
    (lambda: METHOD.apply(conv(), "weight"), TypeError, r"the call is L1Unstructured\.apply\("),
    (lambda: prune.LnStructured(0.5), TypeError, r"LnStructured\(\) needs n; the call is LnStructured\(amount"),
    (lambda: prune.remove(model()), TypeError, "needs name; the call is remove"),
    (lambda: prune.is_pruned(model().state_dict()), TypeError, "is a torch.nn.Module, got OrderedDict"),
    (lambda: prune.global_unstructured(model().parameters(), METHOD, amount=0.5), TypeError, RIGHT_GLOBAL),
    (lambda: prune.global_unstructured([(conv(), "weight")], prune.L1Unstructured), TypeError, RIGHT_GLOBAL),
    (
        lambda: prune.global_unstructured([(conv(), "weight")], prune.l1_unstructured, amount=0.5),
        TypeError,
        RIGHT_GLOBAL,
    ),
    (lambda: prune.global_unstructured([(conv(), "weight")], amount=0.5), TypeError, RIGHT_GLOBAL),
    (lambda: prune.global_unstructured(model().named_parameters(), prune.L1Unstructured, amount=0.5), TypeError, PAIR),
    (lambda: prune.global_unstructured([conv()], prune.L1Unstructured, amount=0.5), TypeError, PAIR),
    (lambda: prune.hold_masks(sgd(), dict(model().named_parameters())), TypeError, "key of masks .* got str"),
    (lambda: prune.hold_masks(sgd()), TypeError, r"the call is hold_masks\(optimizer, {p: p != 0"),
    (lambda: prune.hold_masks({}, sgd()), TypeError, "an optimizer and a mapping, got dict and SGD"),
]


@pytest.mark.parametrize(("call", "kind", "right"), CALLS, ids=[right for _, _, right in CALLS])
def test_wrong_call_shows_the_right_one(call: Callable[[], object], kind: type[Exception], right: str) -> None:
    with pytest.raises(kind, match=right) as caught:
        call()
    assert isinstance(caught.value, PruningError)


def test_name_of_a_pruned_parameter_is_suggested_without_suffix() -> None:
    pruned = prune.identity(conv(), "weight")
    with pytest.raises(AttributeError, match=r"its parameters: bias, weight$"):
        prune.identity(pruned, "weights2d")


def test_removal_from_the_wrong_module_names_the_right_one() -> None:
    pruned = model()
    prune.identity(pruned.conv, "weight")
    with pytest.raises(ValueError, match=r"not pruned.*; pruned in it: conv\.weight"):
        prune.remove(pruned, "weight")


def test_wrong_call_changes_nothing() -> None:
    module = conv()
    before = list(module._parameters), list(module._forward_pre_hooks)
    with pytest.raises(TypeError):
        prune.ln_structured(module, "weight", METHOD, 2, 0)
    assert (list(module._parameters), list(module._forward_pre_hooks)) == before
