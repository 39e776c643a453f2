"""The executor on buffers: results as they leave, and rules that change weights."""

import numpy as np
import pytest

from pruning_engine import Recipe, RecipeError
from pruning_engine.buffer import Buffer
from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.execution.parameter_state import ParameterState
from pruning_engine.execution.parameters import ReceivedParameter
from pruning_engine.execution.prune import prune_buffers
from pruning_engine.execution.results import RESULTS
from pruning_engine.execution.stage_runner import StageRunner
from pruning_engine.kernels.cpu.backend import NumpyBackend
from pruning_engine.kernels.packed_mask import PackedMask
from pruning_engine.planning.plan import Plan
from pruning_engine.planning.planner import make_plan
from pruning_engine.recipe import Fraction, Identity, Magnitude, OutputForm, Rule
from pruning_engine.scores.parameters import ArrivedParameter
from pruning_engine.selection.outcome import Outcome

WEIGHT = [1.0, -4.0, 3.0, -2.0]
RECIPE = Recipe((Rule(score=Magnitude(), amount=Fraction(0.5)),), 1)


def plan(output: OutputForm = OutputForm.PRUNED) -> Plan:
    return make_plan(RECIPE, [TensorSpec("weight", "F32", (2, 2)), TensorSpec("bias", "F4", (3,))], output=output)


def weight() -> Buffer:
    return Buffer("F32", (2, 2), np.array(WEIGHT, np.float32).reshape(2, 2))


def changed_state(output: OutputForm, *, in_place: bool = False) -> ParameterState:
    """Return a finished parameter whose weights a rule has replaced."""
    state = ParameterState(ReceivedParameter(plan(output).parameters[0], {"weight": weight()}), NumpyBackend())
    state.begin(counts_zeros=False)
    bits = np.array([0b0110], np.uint8)
    state.keep(Outcome(PackedMask(4, bits), weight=Buffer("F32", (4,), np.array([5, 6, 7, 8], np.float32))))
    state.finish(output, in_place=in_place)
    return state


def test_parameters_leave_as_buffers() -> None:
    passing = Buffer.from_bytes(b"\x12\x03", "F4", (3,))
    found = prune_buffers(plan(), {"weight": weight(), "bias": passing})
    (result,) = found.results["weight"]
    assert result.spec == TensorSpec("weight", "F32", (2, 2))
    assert result.buffer.array.tolist() == [[0.0, -4.0], [3.0, 0.0]]
    assert found.results["bias"][0].buffer is passing
    assert [tensor.pruned for tensor in found.report.tensors] == [2]


@pytest.mark.parametrize("in_place", [False, True])
def test_memory_of_the_weights_is_overwritten_only_in_place(in_place: bool) -> None:
    tensor = weight()
    found = prune_buffers(plan(), {"weight": tensor}, in_place=in_place)
    assert (found.results["weight"][0].buffer is tensor) is in_place
    assert (tensor.array.reshape(-1).tolist() == WEIGHT) is not in_place


def test_strided_weights_keep_the_order_of_their_dims() -> None:
    transposed = Buffer("F32", (2, 2), weight().array.T)
    result = prune_buffers(plan(), {"weight": transposed}).results["weight"][0].buffer
    assert result.array.strides == transposed.array.strides
    assert result.array.tolist() == [[0.0, 3.0], [-4.0, 0.0]]


def test_every_output_format_has_its_results() -> None:
    assert RESULTS.keys() == set(OutputForm)


@pytest.mark.parametrize("in_place", [False, True])
def test_weights_that_a_rule_has_changed_are_written(in_place: bool) -> None:
    (result,) = changed_state(OutputForm.PRUNED, in_place=in_place).results
    assert result.buffer.array.tolist() == [[0.0, 6.0], [7.0, 0.0]]


def test_masked_results_carry_changed_weights() -> None:
    changed, mask = changed_state(OutputForm.MASKED).results
    assert changed.buffer.array.tolist() == [[5.0, 6.0], [7.0, 8.0]]
    assert mask.buffer.array.tolist() == [[0, 1], [1, 0]]


class Doubled(Identity):
    """Keeps what is unpruned, and doubles it."""

    field = "doubled"
    changes_weights = True

    def outcome(self, parameter: ArrivedParameter) -> Outcome:
        flat = parameter.weight.host()
        return Outcome(parameter.mask, weight=Buffer(flat.dtype, flat.shape, flat.array * 2))


DOUBLED = Recipe((Rule(score=Doubled()), *RECIPE.rules), 1)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        pytest.param(OutputForm.PRUNED, [[[0.0, -8.0], [6.0, 0.0]]], id="pruned"),
        pytest.param(OutputForm.MASKED, [[[2.0, -8.0], [6.0, -4.0]], [[0, 1], [1, 0]]], id="masked"),
        pytest.param(OutputForm.REPORT, [], id="report"),
    ],
)
def test_new_weights_reach_later_rules_and_the_result(output: OutputForm, expected: list[object]) -> None:
    made = make_plan(DOUBLED, [TensorSpec("weight", "F32", (2, 2))], output=output)
    found = prune_buffers(made, {"weight": weight()})
    assert [result.buffer.array.tolist() for result in found.results["weight"]] == expected
    assert [tensor.threshold for tensor in found.report.tensors] == [4.0]


def test_format_without_weights_is_refused_before_any_are_sent() -> None:
    with pytest.raises(RecipeError, match=r"rules\[0\] changes weights, and format mask does not carry them"):
        make_plan(DOUBLED, [TensorSpec("weight", "F32", (2, 2))], output=OutputForm.MASK)


def test_plan_counts_the_second_copy_of_weights() -> None:
    specs = [TensorSpec("weight", "F32", (1000, 1000))]
    peaks = [max(step.held_bytes for step in make_plan(recipe, specs).memory_profile) for recipe in (RECIPE, DOUBLED)]
    assert peaks[1] - peaks[0] >= 4_000_000


def test_score_that_does_not_state_its_changes_is_a_fault() -> None:
    state = ParameterState(ReceivedParameter(plan().parameters[0], {"weight": weight()}), NumpyBackend())
    state.begin(counts_zeros=False)
    with pytest.raises(RuntimeError, match="changes_weights"):
        StageRunner(plan(), NumpyBackend(), counts_zeros=False).keep(0, state, Outcome(state.mask, weight=state.weight))
