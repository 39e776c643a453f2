"""Rules with swaps, updates and the scores obs and alps, compared with the formulas computed in fp64."""

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
import torch

from pruning_engine import CheckpointError, Reason, RecipeError
from pruning_engine.checkpoints.parameters import TensorSpec
from pruning_engine.execution.prune import prune_buffers
from pruning_engine.planning.planner import make_plan
from pruning_engine.recipe import (
    Alps,
    Count,
    Fraction,
    Magnitude,
    NOfM,
    ObsScore,
    OutputForm,
    Recipe,
    Refit,
    Rule,
    Scope,
    Score,
    SparseGpt,
    Swaps,
    Update,
)
from pruning_engine.report import TensorReport, WarningKind
from pruning_engine.runtime.threads import get_threads, set_threads
from pruning_engine.torch_tensors import to_buffer
from tests.engine import calibrated
from tests.engine.calibrated import Tensors, error, gram, inputs, prune

ROWS, COLUMNS = 12, 16
X = inputs(COLUMNS)
H = gram(X)
UPDATES: dict[str, Update] = {"refit": Refit(steps=200), "sparsegpt": SparseGpt(block=4)}
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
MAGNITUDE = Magnitude()


def weight(dtype: torch.dtype = torch.float32, rows: int = ROWS) -> torch.Tensor:
    torch.manual_seed(3)
    return torch.randn(rows, COLUMNS).to(dtype)


def file(dtype: torch.dtype = torch.float32, rows: int = ROWS, matrix: torch.Tensor = H) -> Tensors:
    return {"fc.weight": weight(dtype, rows), "fc.weight:in_gram": matrix}


def half(update: Update | None = None, swaps: Swaps | None = None) -> Rule:
    return Rule(score=MAGNITUDE, amount=Fraction(0.5), input_dim=1, update=update, swaps=swaps)


def obs(update: Update | None = None, *, scope: Scope = Scope.LOCAL, amount: Fraction | Count = Fraction(0.5)) -> Rule:  # noqa: B008 - frozen
    return Rule(score=ObsScore(block=4), amount=amount, scope=scope, input_dim=1, update=update)


def alps(update: Update | None = None, *, scope: Scope = Scope.LOCAL, amount: Fraction | Count = Fraction(0.5)) -> Rule:  # noqa: B008 - frozen
    return Rule(score=Alps(), amount=amount, scope=scope, input_dim=1, update=update)


RULES = [half(Refit()), half(SparseGpt()), obs(SparseGpt()), alps(Refit()), half(swaps=Swaps())]


def largest(before: torch.Tensor, kept: int) -> torch.Tensor:
    """Return the mask of the `kept` largest magnitudes."""
    order = before.double().abs().flatten().argsort(stable=True, descending=False)
    keep = torch.ones(before.numel(), dtype=torch.bool)
    keep[order[: before.numel() - kept]] = False
    return keep.view(before.shape)


def expected(update: str, before: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    if update == "refit":
        return calibrated.least_squares(before, keep, H, 0.001)
    return calibrated.eliminated(before, keep, H, 0.01)


def only(pruned: calibrated.Pruned) -> TensorReport:
    (report,) = pruned.report.tensors
    return report


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("update", UPDATES)
def test_update_is_the_formula_rounded_once(update: str, dtype: torch.dtype) -> None:
    before = weight(dtype)
    after = prune(file(dtype), half(UPDATES[update])).tensors["fc.weight"]
    keep = largest(before, before.numel() // 2)
    exact = expected(update, before, keep)
    tolerance = torch.finfo(dtype).eps if dtype.itemsize == 2 else 1e-8 if dtype is torch.float64 else 1e-4
    slack = 1e-3 if update == "refit" else tolerance  # conjugate gradients stop when the error hardly changes
    assert (after != 0).tolist() == keep.tolist()
    torch.testing.assert_close(after.double(), exact, rtol=tolerance, atol=slack)


@pytest.mark.parametrize("update", UPDATES)
def test_format_masked_has_updated_originals(update: str) -> None:
    before, rule = weight(), half(UPDATES[update])
    pruned = prune(file(), rule).tensors["fc.weight"]
    masked = prune(file(), rule, output=OutputForm.MASKED).tensors
    keep = masked["fc.weight_mask"]
    assert torch.equal(torch.where(keep, masked["fc.weight_orig"], 0.0), pruned)
    assert torch.equal(masked["fc.weight_orig"][~keep], before[~keep])


def test_in_place_update_overwrites_only_the_weight() -> None:
    tensors = file() | {"fc.bias": torch.ones(ROWS)}
    after = prune(tensors, half(Refit()), in_place=True).tensors["fc.weight"]
    assert tensors["fc.weight"].data_ptr() == after.data_ptr()
    assert torch.equal(tensors["fc.weight:in_gram"], H)
    assert tensors["fc.bias"].tolist() == [1.0] * ROWS


def test_without_in_place_the_input_stays() -> None:
    tensors = file()
    prune(tensors, half(Refit()))
    assert torch.equal(tensors["fc.weight"], weight())


@pytest.mark.parametrize("update", UPDATES.values(), ids=UPDATES)
def test_format_mask_refuses_an_update(update: Update) -> None:
    with pytest.raises(RecipeError, match="changes weights"):
        prune(file(), half(update), output=OutputForm.MASK)


def test_format_mask_takes_swaps() -> None:
    bits = prune(file(), half(swaps=Swaps()), output=OutputForm.MASK).tensors["fc.weight:mask_bits"]
    after = prune(file(), half(swaps=Swaps())).tensors["fc.weight"]
    assert np.unpackbits(bits.numpy(), bitorder="little").tolist() == (after != 0).int().flatten().tolist()


def test_swaps_keep_counts_and_lower_the_error() -> None:
    before, plain, swapped = weight(), prune({"fc.weight": weight()}, half()), prune(file(), half(swaps=Swaps()))
    keep, kept = plain.tensors["fc.weight"] != 0, swapped.tensors["fc.weight"] != 0
    assert kept.sum(1).tolist() == keep.sum(1).tolist()
    assert error(before, swapped.tensors["fc.weight"], X) < 0.95 * error(before, plain.tensors["fc.weight"], X)
    assert torch.equal(swapped.tensors["fc.weight"], torch.where(kept, before, 0.0))
    assert swapped.report.reproducible


def test_swaps_stay_within_groups() -> None:
    rule = Rule(score=MAGNITUDE, granularity=NOfM(2, 4), input_dim=1, swaps=Swaps())
    kept = prune(file(), rule).tensors["fc.weight"] != 0
    assert (kept.view(ROWS, -1, 4).sum(2) == 2).all()
    plain = prune({"fc.weight": weight()}, Rule(score=MAGNITUDE, granularity=NOfM(2, 4))).tensors["fc.weight"]
    assert not torch.equal(kept, plain != 0)


@pytest.mark.parametrize("rule", [half(swaps=Swaps()), half(Refit()), obs(), obs(SparseGpt()), alps()], ids=repr)
def test_what_was_pruned_before_stays_pruned(rule: Rule) -> None:
    prior = torch.rand(ROWS, COLUMNS, generator=torch.Generator().manual_seed(1)) < 0.8
    bits = torch.from_numpy(np.packbits(prior.numpy(), bitorder="little"))
    pruned = prune(file() | {"fc.weight:mask_bits": bits}, rule)
    after = pruned.tensors["fc.weight"]
    assert (after[~prior] == 0).all()
    unpruned = int(prior.sum())
    assert int((after != 0).sum()) == unpruned - round(unpruned / 2)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.77, 1.0])
@pytest.mark.parametrize("rule", [obs, alps])
def test_exactly_what_was_asked_is_pruned(rule: Callable[..., Rule], share: float) -> None:
    pruned = prune(file(), rule(amount=Fraction(share)))
    assert only(pruned).pruned == round(share * ROWS * COLUMNS)
    assert int((pruned.tensors["fc.weight"] == 0).sum()) == round(share * ROWS * COLUMNS)


@pytest.mark.parametrize("rule", [obs, alps])
def test_each_row_is_pruned_alike_in_scope_output_channel(rule: Callable[..., Rule]) -> None:
    after = prune(file(), rule(scope=Scope.OUTPUT_CHANNEL, amount=Count(5))).tensors["fc.weight"]
    assert (after == 0).sum(1).tolist() == [5] * ROWS


@pytest.mark.parametrize("rule", [obs(), alps()], ids=repr)
def test_weights_stay_without_an_update(rule: Rule) -> None:
    after = prune(file(), rule).tensors["fc.weight"]
    assert torch.equal(after[after != 0], weight()[after != 0])


def test_obs_with_sparsegpt_is_one_elimination() -> None:
    after = prune(file(), obs(SparseGpt(block=4))).tensors["fc.weight"]
    exact = calibrated.eliminated(weight(), after != 0, H, 0.01)
    torch.testing.assert_close(after.double(), exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", [obs, alps])
def test_refit_is_least_squares(rule: Callable[..., Rule]) -> None:
    after = prune(file(), rule(Refit(steps=200))).tensors["fc.weight"]
    exact = calibrated.least_squares(weight(), after != 0, H, 0.001)
    torch.testing.assert_close(after.double(), exact, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("score", [ObsScore(), Alps()], ids=repr)
def test_groups_keep_n_of_m(score: Score) -> None:
    rule = Rule(score=score, granularity=NOfM(2, 4), input_dim=1, update=SparseGpt())
    kept = prune(file(), rule).tensors["fc.weight"] != 0
    assert (kept.view(ROWS, -1, 4).sum(2) == 2).all()


def test_alps_leaves_less_error_than_sparsegpt() -> None:
    before, after = weight(), [prune(file(), rule(Refit())).tensors["fc.weight"] for rule in (obs, alps)]
    assert error(before, after[1], X) < 0.98 * error(before, after[0], X)


@pytest.mark.parametrize("rule", [obs, alps])
def test_global_scope_is_refused(rule: Callable[..., Rule]) -> None:
    with pytest.raises(RecipeError, match="prunes each tensor by itself") as caught:
        prune(file(), rule(scope=Scope.GLOBAL))
    assert caught.value.field == "rules[0].scope"


@pytest.mark.parametrize(
    ("score", "message"),
    [(Alps(steps=0), "1 to 10,000, got 0"), (Alps(damping=0.0), "above 0, such as 0.01, got 0.0")],
    ids=["steps", "damping"],
)
def test_numbers_out_of_range_are_refused(score: Score, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        prune(file(), Rule(score=score, amount=Fraction(0.5), input_dim=1))


@pytest.mark.parametrize("rule", [half(swaps=Swaps()), half(Refit()), half(SparseGpt()), obs(SparseGpt())], ids=repr)
def test_report_predicts_the_error(rule: Rule) -> None:
    pruned = prune(file(torch.float64), rule)
    before, after, report = weight(torch.float64), pruned.tensors["fc.weight"], only(pruned)
    assert report.predicted_error == pytest.approx(error(before, after, X), rel=1e-9)
    assert report.masked_error == pytest.approx(error(before, torch.where(after != 0, before, 0.0), X), rel=1e-9)


def test_report_of_a_magnitude_rule_has_no_errors() -> None:
    report = only(prune({"fc.weight": weight()}, half()))
    assert (report.masked_error, report.predicted_error, report.damping) == (None, None, None)


@pytest.mark.parametrize(
    ("rule", "expected_damping"),
    [(half(Refit()), 0.001), (half(Refit(damping=0.5)), 0.5), (half(SparseGpt()), 0.01), (obs(), 0.01), (alps(), 0.05)],
    ids=["refit", "refit 0.5", "sparsegpt", "obs", "alps"],
)
def test_report_has_the_damping(rule: Rule, expected_damping: float) -> None:
    assert only(prune(file(), rule)).damping == pytest.approx(expected_damping)


def test_updates_are_not_reproducible() -> None:
    assert not prune(file(), half(Refit())).report.reproducible
    assert not prune(file(), obs()).report.reproducible
    assert not prune(file(), alps()).report.reproducible


def test_few_tokens_are_reported_and_damped_more() -> None:
    count = torch.tensor(8.0)
    pruned = prune(file(matrix=gram(inputs(COLUMNS, 8))) | {"fc.weight:in_count": count}, half(Refit()))
    assert [warning.kind for warning in pruned.report.warnings] == [WarningKind.FEW_TOKENS]
    assert only(pruned).damping == pytest.approx(0.001 * 8 * COLUMNS / 8)


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_rank_deficient_and_dead_inputs_give_finite_weights(rule: Rule) -> None:
    rows = inputs(COLUMNS, 5)
    rows[:, 3] = 0
    pruned = prune(file(torch.bfloat16, matrix=gram(rows).float()), rule)
    after = pruned.tensors["fc.weight"]
    assert after.isfinite().all()
    assert only(pruned).predicted_error <= only(pruned).masked_error  # type: ignore[operator]


@pytest.mark.parametrize(("rule", "asked"), [(half(SparseGpt()), 0.01), (alps(), 0.05)], ids=["sparsegpt", "alps"])
def test_grown_damping_is_reported(rule: Rule, asked: float) -> None:
    indefinite = torch.ones(COLUMNS, COLUMNS) * 0.9995 + torch.eye(COLUMNS) * 0.0005
    indefinite[0, 1:] *= -1
    indefinite[1:, 0] *= 1  # within the tolerance of sums, and not positive definite
    indefinite[1:, 0] *= -1
    indefinite[2, 3] = indefinite[3, 2] = -0.9995
    pruned = prune(file(matrix=indefinite), rule)
    assert WarningKind.DAMPING_INCREASED in {warning.kind for warning in pruned.report.warnings}
    assert only(pruned).damping > asked  # type: ignore[operator]


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_one_row_is_a_matrix_too(rule: Rule) -> None:
    pruned = prune(file(rows=1), rule)
    assert int((pruned.tensors["fc.weight"] != 0).sum()) == COLUMNS // 2


def test_inputs_stand_for_their_gram() -> None:
    tensors = {"fc.weight": weight(torch.float64), "fc.weight:inputs": X}
    found = prune(tensors, half(Refit())).tensors["fc.weight"]
    by_gram = prune(file(torch.float64), half(Refit())).tensors["fc.weight"]
    torch.testing.assert_close(found, by_gram, rtol=1e-9, atol=1e-12)


def _with(change: Callable[[torch.Tensor], object]) -> torch.Tensor:
    matrix = H.clone()
    change(matrix)
    return matrix


FAULTS = {
    "not finite": _with(lambda matrix: matrix[2, 2].fill_(float("nan"))),
    "infinite": _with(lambda matrix: matrix[2, 3].fill_(float("inf"))),
    "negative": _with(lambda matrix: matrix[2, 2].fill_(-1)),
    "not symmetric": _with(lambda matrix: matrix[2, 3].fill_(0)),
}


@pytest.mark.parametrize("matrix", FAULTS.values(), ids=FAULTS)
def test_wrong_statistics_are_refused_by_name(matrix: torch.Tensor) -> None:
    with pytest.raises(CheckpointError, match=r"fc\.weight:in_gram") as caught:
        prune(file(matrix=matrix), half(Refit()))
    assert (caught.value.reason, caught.value.tensor) == (Reason.INVALID_AUXILIARY, "fc.weight:in_gram")


def test_weights_that_are_not_finite_are_refused() -> None:
    tensors = file()
    tensors["fc.weight"][1, 1] = float("inf")
    with pytest.raises(CheckpointError, match=r"fc\.weight"):
        prune(tensors, half(Refit()))


def test_several_rules_refit_to_the_weights_as_they_arrived() -> None:
    later = Rule(score=MAGNITUDE, amount=Fraction(0.5), input_dim=1, update=Refit(steps=200))
    after = prune(file(), half(Refit(steps=200)), later).tensors["fc.weight"]
    exact = calibrated.least_squares(weight(), after != 0, H, 0.001)
    torch.testing.assert_close(after.double(), exact, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("rule", [*RULES, obs(), obs(Refit())], ids=repr)
@pytest.mark.parametrize("shape", [(256, 256), (64, 512), (1024, 128)], ids=str)
def test_memory_is_planned(rule: Rule, shape: tuple[int, int]) -> None:
    specs = [TensorSpec("fc.weight", "F32", shape), TensorSpec("fc.weight:in_gram", "F32", (shape[1], shape[1]))]
    plan = make_plan(Recipe((rule,), 1), specs)
    matrix = gram(inputs(shape[1])).float()
    buffers = {"fc.weight": to_buffer(torch.randn(shape)), "fc.weight:in_gram": to_buffer(matrix)}
    prune_buffers(plan, buffers)  # what is kept for later calls is made
    tracemalloc.start()
    try:
        prune_buffers(plan, buffers, in_place=True)
        peak = tracemalloc.get_traced_memory()[1] + sum(buffer.nbytes for buffer in buffers.values())
    finally:
        tracemalloc.stop()
    assert peak <= plan.peak_bytes <= 4 * peak + (16 << 20)


@pytest.mark.parametrize("rule", [half(swaps=Swaps()), half()], ids=["swaps", "none"])
def test_masks_are_the_same_for_any_number_of_threads(rule: Rule) -> None:
    before, found = get_threads(), []
    tensors = {"fc.weight": torch.randn(64, 96, generator=torch.Generator().manual_seed(4))}
    if rule.swaps is not None:
        tensors["fc.weight:in_gram"] = gram(inputs(96))
    try:
        for threads in (1, 2, 7):
            set_threads(threads)
            found.append(prune(tensors, rule).tensors["fc.weight"])
    finally:
        set_threads(before)
    assert all(torch.equal(other, found[0]) for other in found[1:])


def test_swaps_by_inputs_are_not_reproducible() -> None:
    tensors = {"fc.weight": weight(), "fc.weight:inputs": X}
    assert not prune(tensors, half(swaps=Swaps())).report.reproducible
