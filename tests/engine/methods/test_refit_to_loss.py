import numpy as np
import pytest

from pruning_engine.methods.gram import Gram
from pruning_engine.methods.refit_to_loss import Damping, loss_change, refit_to_loss
from tests.engine.methods.formulas import Floats, Mask, case, damped, mask

DAMPING = Damping(inputs=0.01, outputs=0.02)


def gradients(rows: int, tokens: int = 40, seed: int = 3) -> Gram:
    """Return the Gram of gradients that depend on each other, in fp32."""
    random = np.random.default_rng(seed)
    mixed = random.normal(size=(tokens, rows)) @ (np.eye(rows) + 0.5 * random.normal(size=(rows, rows)))
    return Gram.of_inputs((1e-3 * mixed).astype(np.float32))


def excess(weight: Floats, pruned: Floats, keep: Mask, gram: Gram, output_gram: Gram) -> float:
    """Return how much more the damped loss is than the least one, which is solved for by the Kronecker product."""
    system = np.kron(damped(output_gram.matrix, DAMPING.outputs), damped(gram.matrix, DAMPING.inputs))
    kept, best = keep.ravel(), np.zeros(weight.size)
    best[kept] = np.linalg.solve(system[np.ix_(kept, kept)], (system @ weight.ravel().astype(float))[kept])
    losses = [float(change @ system @ change) for change in (weight.ravel() - pruned.ravel(), weight.ravel() - best)]
    return losses[0] / losses[1] - 1


@pytest.mark.parametrize(
    ("rows", "columns", "tokens", "dead"),
    [(6, 20, 64, 0), (1, 20, 64, 0), (6, 20, 64, 4), (6, 20, 5, 0), (3, 1, 4, 0)],
    ids=["plain", "one row", "dead inputs", "rank deficient", "one column"],
)
def test_loss_is_least_within_the_mask(rows: int, columns: int, tokens: int, dead: int) -> None:
    weight, _, gram = case(rows, columns, tokens, dead=dead)
    keep, output_gram = mask(rows, columns), gradients(rows)
    result = refit_to_loss(weight.astype(float), keep, gram, output_gram, steps=1000, damping=DAMPING)
    assert excess(weight, result.weight, keep, gram, output_gram) < 1e-4
    assert (result.weight[~keep] == 0).all()


def test_loss_falls_with_each_step() -> None:
    weight, _, gram = case(8, 60, 300)
    keep, output_gram = mask(8, 60), gradients(8)
    results = [refit_to_loss(weight, keep, gram, output_gram, steps=steps).weight for steps in (0, 2, 5, 20)]
    losses = [loss_change(weight, result, gram, output_gram) for result in results]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.9 * losses[0]


def test_outputs_without_gradients_count_alike() -> None:
    weight, _, gram = case()
    keep, nothing = mask(*weight.shape), Gram.of_matrix(np.zeros((6, 6), np.float32))
    alike = Gram.of_matrix(np.eye(6, dtype=np.float32))
    for_nothing, for_all = (
        refit_to_loss(weight, keep, gram, outputs, steps=200).weight for outputs in (nothing, alike)
    )
    np.testing.assert_allclose(for_nothing, for_all, rtol=1e-3, atol=1e-4)


def test_a_scale_of_the_gradients_changes_nothing() -> None:
    weight, _, gram = case()
    keep, output_gram = mask(*weight.shape), gradients(6)
    louder = Gram.of_matrix(output_gram.matrix * np.float32(1024))
    one, other = (refit_to_loss(weight, keep, gram, outputs).weight for outputs in (output_gram, louder))
    np.testing.assert_allclose(one, other, rtol=1e-5)


def test_arguments_stay_as_they_are() -> None:
    weight, _, gram = case()
    keep, output_gram, start = mask(*weight.shape), gradients(6), weight.copy()
    copies = [array.copy() for array in (weight, keep, start, gram.matrix, output_gram.matrix)]
    refit_to_loss(weight, keep, gram, output_gram, start=start)
    for array, copy in zip((weight, keep, start, gram.matrix, output_gram.matrix), copies, strict=True):
        np.testing.assert_array_equal(array, copy)
