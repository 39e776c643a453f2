"""The engine's core imports no torch, whatever is asked of it on a CPU; the names that need torch load it."""

import subprocess
import sys

import pytest

import pruning_engine

RULES = """
from itertools import product
import numpy as np
from pruning_engine.buffer import CARRIERS, Buffer
from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.execution.prune import prune_buffers
from pruning_engine.planning.planner import make_plan
from pruning_engine.recipe import *
from pruning_engine.recipe import OutputForm
A, SELECT = Fraction(0.2), Selector(("a", "b"))
GROUP = ChannelGroup(ties=(ChannelSlice("a", scored=True),))
RULES = (
    Rule(score=Magnitude(), amount=A, scope=Scope.GLOBAL, select=SELECT),
    Rule(score=Random(), amount=A, select=SELECT),
    Rule(score=Magnitude(2.0), amount=A, granularity=Channels(), select=SELECT),
    Rule(score=Magnitude(NamedNorm.FRO), amount=A, granularity=Channels(1), prior=Prior.ZEROS, select=SELECT),
    Rule(score=ImportanceScores(fall_back_to_weights=True), amount=A, select=SELECT),
    Rule(score=Identity(), select=SELECT),
    Rule(score=Magnitude(), amount=A, granularity=Units(groups=(GROUP,))),
)
for dtype, output in product(["F32", "BF16", "F8_E4M3", "F8_E5M2", "F64", "I32"], OutputForm):
    specs = [TensorSpec(name, dtype, (16, 16)) for name in "ab"]
    tensors = {name: Buffer(dtype, (16, 16), (np.arange(256) % 100).astype(CARRIERS[dtype]).reshape(16, 16))
               for name in "ab"}
    rules = RULES if output is not OutputForm.SCAN else [rule for rule in RULES if rule.granularity.prunes_entries]
    prune_buffers(make_plan(Recipe(tuple(rules), 1), specs, output=output), tensors)
"""


@pytest.mark.parametrize(
    "script",
    [
        "import pruning_engine",
        "import pruning_engine.execution.executor",
        "import pruning_engine.planning.planner",
        "from pruning_engine import OutputForm, PruningError, Recipe, Report, Rule, get_threads",
        RULES,
    ],
    ids=["package", "executor", "planner", "names without torch", "rules carried out"],
)
def test_torch_is_not_imported(script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"{script}\nimport sys\nprint('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("False\n", "")


@pytest.mark.parametrize("name", pruning_engine.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(pruning_engine, name) is not None
    assert name in dir(pruning_engine)


def test_unknown_names_are_refused_as_of_any_module() -> None:
    with pytest.raises(AttributeError, match="module 'pruning_engine' has no attribute 'nothing'"):
        _ = pruning_engine.nothing
