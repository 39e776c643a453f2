"""Gram matrices of the gradients of a loss with respect to the outputs of layers: which outputs matter, how much."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn

from pruning_client.errors import MismatchError

_CONVOLUTIONS: Final = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class OutputGradients:
    """Sums of g gᵀ in fp64, for each weight, where g are the gradients of one output position.

    Call `watch` for each layer, then `add` after each run of the model with gradients. Gradients of parameters are
    neither computed nor changed, so that it does not matter which parameters require them.

    Cost: 8 bytes for each pair of outputs, and the memory of a forward pass that keeps its graph.
    """

    def __init__(self, loss: Callable[[Any], Tensor]) -> None:
        self._loss = loss
        self._outputs: list[_Output] = []
        self._sums: dict[str, Tensor] = {}

    def watch(self, stack: ExitStack, weight: str, layer: nn.Module) -> None:
        """Keep the outputs of a layer until the next `add`, while the stack is open."""
        channel_dim = 1 if isinstance(layer, _CONVOLUTIONS) else -1
        stack.callback(layer.register_forward_hook(partial(self._keep, weight, channel_dim)).remove)

    def _keep(self, weight: str, channel_dim: int, _: nn.Module, __: tuple[Any, ...], tensor: Tensor) -> None:
        if not tensor.requires_grad:
            tensor.requires_grad_()
        self._outputs.append(_Output(weight, channel_dim, tensor))

    def add(self, result: object) -> None:
        """Add the gradients of the loss of what the model returned.

        Raises: MismatchError if the loss is not one finite number, or does not depend on any of the layers.
        """
        outputs, self._outputs = self._outputs, []
        loss = self._loss(result)
        if not isinstance(loss, Tensor) or loss.numel() != 1 or not bool(loss.isfinite().all()):
            raise MismatchError(f"the loss of a batch is one finite number in a tensor, got {loss!r}")
        if not loss.requires_grad:
            raise MismatchError("the loss does not depend on the output of any layer; is it detached?")
        gradients = torch.autograd.grad(loss, [output.tensor for output in outputs], allow_unused=True)
        for output, gradient in zip(outputs, gradients, strict=True):
            if gradient is not None:
                self._add(output.weight, gradient.movedim(output.channel_dim, -1).flatten(0, -2))

    def _add(self, weight: str, rows: Tensor) -> None:
        place = torch.device("cpu") if rows.device.type == "mps" else rows.device  # which has no fp64
        exact = rows.to(device=place, dtype=torch.float64)
        if weight not in self._sums:
            self._sums[weight] = torch.zeros((exact.shape[1], exact.shape[1]), dtype=torch.float64, device=place)
        self._sums[weight].addmm_(exact.T, exact)

    def gram_of(self, weight: str) -> Tensor | None:
        """Return the sum for a weight, (out, out), symmetric to the last bit; None if the loss does not depend on it.

        Raises: MismatchError if a gradient was not finite.
        """
        total = self._sums.get(weight)
        if total is None:
            return None
        if not bool(total.isfinite().all()):
            raise MismatchError(
                f"the gradients of the output of {weight!r} have NaN or infinite values; look at the loss and the "
                "batches, or run the model in a wider dtype",
                metadata={"tensor": weight},
            )
        return total.triu() + total.triu(1).mT


@dataclass(frozen=True, slots=True)
class _Output:
    weight: str
    channel_dim: int
    tensor: Tensor
