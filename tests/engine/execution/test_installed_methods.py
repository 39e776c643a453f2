"""Methods that somebody installed beside the engine prune state dicts, by name."""

import re
from pathlib import Path

import pytest
import torch

from pruning_engine import CheckpointError, MismatchError, Recipe, RecipeError, Rule, prune_state_dict
from pruning_engine.execution.state_dict import spec_of
from pruning_engine.planning.planner import make_plan
from pruning_engine.recipe import Argument, Count, CustomMask, Method
from pruning_engine.scores.installed_methods import installed_methods

SOURCE = """
import torch
from torch.nn.utils.prune import BasePruningMethod

class Every(BasePruningMethod):
    PRUNING_TYPE = "unstructured"
    def __init__(self, step):
        self.step = step
    def compute_mask(self, t, default_mask):
        mask = default_mask.clone()
        mask.view(-1)[:: self.step] = 0
        return mask

class Rows(BasePruningMethod):
    PRUNING_TYPE = "structured"
    dim = 0
    def compute_mask(self, t, default_mask):
        mask = default_mask.clone()
        mask[0] = 0
        return mask

class Soft(Every):
    def compute_mask(self, t, default_mask):
        return default_mask * 0.5

class Wide(Every):
    def compute_mask(self, t, default_mask):
        return torch.ones(9)

class Broken(Every):
    def compute_mask(self, t, default_mask):
        raise ArithmeticError("no mask today")

Text = "no class"
"""
ENTRIES = """[pruning_engine.methods]
every = methods_of_somebody:Every
rows = methods_of_somebody:Rows
soft = methods_of_somebody:Soft
wide = methods_of_somebody:Wide
broken = methods_of_somebody:Broken
text = methods_of_somebody:Text
missing = methods_of_somebody:Missing
"""


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "methods_of_somebody.py").write_text(SOURCE)
    metadata = tmp_path / "methods_of_somebody-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: methods-of-somebody\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRIES)
    monkeypatch.syspath_prepend(str(tmp_path))


def prune_by(name: str, arguments: dict[str, Argument], state_dict: dict[str, torch.Tensor]) -> torch.Tensor:
    """What `w` becomes under one installed method."""
    result = prune_state_dict(state_dict, Recipe((Rule(score=Method(name, arguments)),))).state_dict["weight"]
    assert isinstance(result, torch.Tensor)
    return result


def test_names_of_installed_methods_are_reported() -> None:
    assert {"every", "rows"} <= set(installed_methods())


def test_an_installed_method_decides_on_the_whole_tensor() -> None:
    assert prune_by("every", {"step": 3}, {"weight": torch.ones(2, 3)}).tolist() == [[0, 1, 1], [0, 1, 1]]


def test_an_unstructured_method_is_shown_what_a_prior_mask_has_left() -> None:
    masked = {"weight_orig": torch.ones(1, 5), "weight_mask": torch.tensor([[0, 1, 1, 1, 1]])}
    assert prune_by("every", {"step": 2}, masked).tolist() == [[0, 0, 1, 0, 1]]


def test_a_structured_method_is_shown_the_channels_that_are_left() -> None:
    masked = {"weight_orig": torch.ones(3, 2), "weight_mask": torch.tensor([[0, 0], [1, 1], [1, 1]])}
    assert prune_by("rows", {}, masked).tolist() == [[0, 0], [0, 0], [1, 1]]


def test_it_acts_on_what_earlier_rules_have_left() -> None:
    rules = (Rule(score=CustomMask()), Rule(score=Method("every", {"step": 2})))
    state_dict = {"weight": torch.ones(1, 4), "weight:mask": torch.tensor([[0, 1, 1, 1]])}
    assert prune_state_dict(state_dict, Recipe(rules)).report.tensors[0].pruned == 3


def test_installed_method_is_not_reported_as_reproducible() -> None:
    spec = spec_of("weight", torch.ones(2, 2))
    assert not make_plan(Recipe((Rule(score=Method("rows")),)), [spec]).reproducible


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("nothing", {}, r"rules\[0\].score.method.name: no method is installed under the name 'nothing'; installed: "),
        ("text", {}, "is not a subclass of BasePruningMethod"),
        ("missing", {}, "cannot be imported from methods_of_somebody:Missing"),
        ("every", {}, r"rules\[0\].score.method.arguments: method 'every' does not take the arguments {}"),
        ("every", {"stride": 2}, "does not take the arguments {'stride': 2}"),
    ],
    ids=["unknown", "no class", "no such attribute", "too few arguments", "unknown argument"],
)
def test_a_plan_refuses_a_method_that_cannot_be_had(name: str, arguments: dict[str, Argument], words: str) -> None:
    recipe = Recipe((Rule(score=Method(name, arguments)),))
    with pytest.raises(RecipeError, match=words):
        make_plan(recipe, [spec_of("weight", torch.ones(2, 2))])


def test_a_method_takes_its_amount_as_an_argument_only() -> None:
    with pytest.raises(RecipeError, match=re.escape("rules[0]: method takes no amount")):
        make_plan(Recipe((Rule(score=Method("rows"), amount=Count(1)),)), [spec_of("weight", torch.ones(2, 2))])


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("broken", RecipeError, "Broken failed on tensor 'weight': no mask today"),
        ("wide", MismatchError, r"Wide gave a mask of shape \[9\] for tensor 'weight'"),
        ("soft", CheckpointError, "Soft gave a mask for tensor 'weight' that holds something other than 0 and 1"),
    ],
)
def test_a_method_that_gives_no_sound_mask_is_refused(name: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        prune_by(name, {"step": 1}, {"weight": torch.ones(2, 2)})


def test_codes_of_scaled_weights_are_not_shown() -> None:
    tensors = {"weight": torch.ones(2, 2).to(torch.float8_e4m3fn), "weight_scale": torch.ones(1)}
    rule = Rule(score=Method("every", {"step": 2}))
    with pytest.raises(MismatchError, match="would be shown the codes alone"):
        prune_state_dict(tensors, Recipe((rule,)))
