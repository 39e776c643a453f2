"""The norms "nuc" and "fro" mean the same whatever torch is installed: torch 2.14 changed its own `_compute_norm`.

Up to 2.13, torch refuses "nuc" on tensors of other than 3 dims, and "fro" on those of 4 or more. From 2.14 on, "fro" is
the 2-norm everywhere, and "nuc" is taken over the last two dims, which ranks no channels on other than 3 dims.
"""

import pytest
import torch

import pruning_engine as prune


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 2, 2), (4, 3, 2, 2, 2)], ids=["2 dims", "4 dims", "5 dims"])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_nuclear_norm_is_refused_unless_tensors_have_three_dims(shape: tuple[int, ...], dim: int) -> None:
    with pytest.raises(ValueError, match="tensors of 3 dims"):
        prune.LnStructured(1, "nuc", dim).prune(torch.ones(shape))


@pytest.mark.parametrize(
    "shape", [(4, 3), (4, 3, 2), (4, 3, 2, 2), (4, 3, 2, 2, 2)], ids=lambda shape: f"{len(shape)} dims"
)
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_frobenius_norm_is_the_2_norm_for_any_number_of_dims(shape: tuple[int, ...], dim: int) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    frobenius, euclidean = (prune.LnStructured(1, n, dim).prune(weight) for n in ("fro", 2))
    assert torch.equal(frobenius, euclidean)
    assert (frobenius == 0).sum() == weight.numel() // shape[dim]
