"""Which tokens of a batch are padding, by its attention masks."""

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from pruning_client.errors import MismatchError

_MASK: Final = "attention_mask"
_DECODER_TOKENS: Final = ("decoder_input_ids", "labels")


class Padding:
    """The tokens of one batch without its padding, by the shape (sequences, tokens) of the masks in it.

    `has_decoder`: the model has an encoder and a decoder; the decoder's tokens are not padding unless a mask says so.
    Raises: MismatchError for a mask that is not of 2 dims, or two that differ and have one shape.
    """

    def __init__(self, batch: Mapping[str, Any], *, has_decoder: bool = False) -> None:
        self._real: dict[tuple[int, ...], Tensor] = {}
        masks = {name: mask for name, mask in batch.items() if name.endswith(_MASK) and isinstance(mask, Tensor)}
        for name, mask in masks.items():
            if mask.dim() != 2:
                raise MismatchError(
                    f"{name} has shape {list(mask.shape)}: padding is known from a mask of shape [sequences, tokens], "
                    "as tokenizers return it"
                )
            self._add(name, mask != 0)
        if has_decoder and masks and f"decoder_{_MASK}" not in masks:
            for name in _DECODER_TOKENS:
                tokens = batch.get(name)
                if isinstance(tokens, Tensor) and tokens.dim() == 2:
                    self._add(name, torch.ones_like(tokens, dtype=torch.bool))

    def _add(self, name: str, real: Tensor) -> None:
        shape = tuple(real.shape)
        other = self._real.setdefault(shape, real)
        if not torch.equal(other.cpu(), real.cpu()):
            raise MismatchError(
                f"{name} and another mask have the same shape {list(shape)} and differ, so that the padding of a "
                "layer's input is not known; pad the decoder's tokens to another length than the encoder's"
            )

    def real_rows(self, inputs: Tensor) -> Tensor:
        """Return the rows of an input without padding. Shape: (..., channels) to (rows, channels).

        An input of another shape than (sequences, tokens, ..., channels) or (sequences * tokens, channels) has no
        padding.
        """
        channels = inputs.shape[-1]
        for shape, real in self._real.items():
            where = real.to(inputs.device)
            if inputs.dim() > 2 and tuple(inputs.shape[:2]) == shape:
                return inputs[where].reshape(-1, channels)
            if inputs.dim() == 2 and len(inputs) == real.numel():
                return inputs[where.flatten()]
        return inputs.reshape(-1, channels)

    def real_tokens(self, count: int) -> Tensor | None:
        """Return which of `count` tokens are not padding; None if none is padding. Shape: (count,)."""
        for real in self._real.values():
            if real.numel() == count:
                return real.flatten()
        return None
