"""Several methods on one tensor: what a container holds, what its last method is shown, and what is refused."""

import pytest
import torch
from torch.nn.utils import prune as torch_prune

import pruning_engine as prune


class SeesShape(prune.BasePruningMethod):
    """Notes the shape that it is shown; prunes nothing."""

    dim = 0

    def __init__(self, kind: str) -> None:
        self.PRUNING_TYPE = kind
        self.seen: list[int] = []

    def compute_mask(self, t: torch.Tensor, default_mask: torch.Tensor) -> torch.Tensor:
        self.seen = list(t.shape)
        return default_mask


def test_a_container_may_be_empty() -> None:
    assert len(prune.PruningContainer()) == 0


def test_a_container_takes_methods_that_were_not_applied_yet() -> None:
    first, second = prune.L1Unstructured(1), prune.RandomUnstructured(1)
    assert list(prune.PruningContainer(first, second)) == [first, second]


def test_a_container_takes_a_list() -> None:
    methods = [prune.L1Unstructured(1), prune.L1Unstructured(2), prune.Identity()]
    assert list(prune.PruningContainer(methods)) == methods


def test_the_last_method_acts_on_what_the_mask_has_left() -> None:
    container = prune.PruningContainer(prune.L1Unstructured(2), prune.L1Unstructured(1))
    prior = torch.tensor([0.0, 1.0, 1.0])
    assert container.compute_mask(torch.tensor([1.0, 3.0, 2.0]), prior).tolist() == [0, 1, 0]
    assert prior.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("kind", "shape"), [("unstructured", [3]), ("structured", [2, 2]), ("global", [3, 2])], ids=str
)
def test_the_pruning_type_says_what_a_method_is_shown(kind: str, shape: list[int]) -> None:
    method = SeesShape(kind)
    prior = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    mask = prune.PruningContainer(method).compute_mask(torch.ones(3, 2), prior)
    assert method.seen == shape
    assert torch.equal(mask, prior)


def test_fully_pruned_channels_do_not_count() -> None:
    container = prune.PruningContainer(prune.LnStructured(0.5, n=1, dim=0))
    prior = torch.tensor([[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    weight = torch.tensor([[9.0, 9.0], [2.0, 2.0], [1.0, 1.0]])
    assert container.compute_mask(weight, prior).tolist() == [[0, 0], [1, 1], [0, 0]]


def test_soft_masks_keep_their_values() -> None:
    container = prune.PruningContainer(prune.L1Unstructured(1))
    assert container.compute_mask(torch.arange(3.0), torch.tensor([0.5, 1.0, 1.0])).tolist() == [0.5, 0, 1]


def test_an_integer_prior_mask_gives_a_mask_of_the_weights_dtype() -> None:
    container = prune.PruningContainer(prune.L1Unstructured(1))
    mask = container.compute_mask(torch.arange(3.0), torch.tensor([1, 0, 1]))
    assert mask.dtype is torch.float32
    assert mask.tolist() == [0, 0, 1]


def test_a_container_is_torchs_container_too() -> None:
    assert isinstance(prune.PruningContainer(), torch_prune.PruningContainer)


@pytest.mark.parametrize("other", [10, "l1", None], ids=str)
def test_only_methods_go_into_a_container(other: object) -> None:
    with pytest.raises(TypeError, match="holds pruning methods, not"):
        prune.PruningContainer().add_pruning_method(other)


def test_one_container_serves_one_tensor() -> None:
    container = prune.PruningContainer(prune.L1Unstructured(1))
    method = prune.L1Unstructured(1)
    method._tensor_name = "bias"
    with pytest.raises(ValueError, match="the method to be added prunes 'bias'"):
        container.add_pruning_method(method)


def test_an_empty_container_computes_no_mask() -> None:
    with pytest.raises(RuntimeError, match="empty"):
        prune.PruningContainer().compute_mask(torch.ones(1), torch.ones(1))


def test_an_unknown_pruning_type_is_refused() -> None:
    with pytest.raises(ValueError, match="PRUNING_TYPE 'blocks'; allowed"):
        prune.PruningContainer(SeesShape("blocks")).compute_mask(torch.ones(1), torch.ones(1))


class NoDim(torch_prune.BasePruningMethod):
    """A structured method that forgot its dim."""

    PRUNING_TYPE = "structured"

    def compute_mask(self, t: torch.Tensor, default_mask: torch.Tensor) -> torch.Tensor:  # noqa: ARG002 - the interface
        return default_mask


def test_a_structured_method_needs_a_dim() -> None:
    with pytest.raises(AttributeError, match=r"NoDim .* needs an attribute 'dim'"):
        prune.PruningContainer(NoDim()).compute_mask(torch.ones(2, 2), torch.ones(2, 2))
