"""Methods that rank nothing: Identity, CustomFromMask."""

import torch
from torch.nn.utils import prune as torch_prune

from pruning_engine.errors import Reason
from pruning_engine.modules.base_method import BasePruningMethod
from pruning_engine.modules.calls import check_tensor, shows_right_call
from pruning_engine.modules.errors import ShapeError
from pruning_engine.modules.mask_tensors import mask_dtype, times
from pruning_engine.modules.storage import Method


class Identity(BasePruningMethod, torch_prune.Identity):
    """Prunes nothing more; the module stores a mask."""

    PRUNING_TYPE: str = "unstructured"

    def compute_mask(self, t: torch.Tensor, default_mask: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        """Return the default mask."""
        return default_mask

    def mask_survivors(self, t: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the prior mask, copied."""
        if type(self).compute_mask is not Identity.compute_mask:
            return super().mask_survivors(t, mask)
        return mask.to(mask_dtype(t, mask), copy=True)

    @classmethod
    @shows_right_call("Identity.apply({place})")
    def apply(  # type: ignore[override]  # torch's signature
        cls, module: torch.nn.Module, name: str, *, mask_dtype: torch.dtype | None = None
    ) -> Method:
        """Store `module.name` as a pruned parameter: see BasePruningMethod.apply."""
        return super().apply(module, name, mask_dtype=mask_dtype)


class CustomFromMask(BasePruningMethod, torch_prune.CustomFromMask):
    """Prunes what a given mask marks 0."""

    PRUNING_TYPE: str = "global"
    mask: torch.Tensor

    @shows_right_call("CustomFromMask(mask)")
    def __init__(self, mask: torch.Tensor) -> None:
        check_tensor(mask, "mask")
        self.mask = mask

    def compute_mask(self, t: torch.Tensor, default_mask: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        """Return the product of the two masks. Raises: ShapeError (an AssertionError) if they differ in shape."""
        if default_mask.shape != self.mask.shape:
            raise ShapeError(
                Reason.SHAPE_MISMATCH,
                f"mask has shape {list(self.mask.shape)}; it must have that of the tensor to prune, "
                f"{list(default_mask.shape)}",
                field="mask",
            )
        return times(default_mask, self.mask.to(default_mask))

    @classmethod
    @shows_right_call("CustomFromMask.apply({place}, mask)")
    def apply(  # type: ignore[override]  # torch's signature
        cls, module: torch.nn.Module, name: str, mask: torch.Tensor, *, mask_dtype: torch.dtype | None = None
    ) -> Method:
        """Prune `module.name`: see BasePruningMethod.apply."""
        return super().apply(module, name, mask=mask, mask_dtype=mask_dtype)
