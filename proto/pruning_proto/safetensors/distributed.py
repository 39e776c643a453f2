"""Shards of torch's distributed checkpoints: safetensors files that hold slices of tensors under the tensors' names.

Source: `torch.distributed.checkpoint.HuggingFaceStorageWriter`, torch 2.13.
"""

from collections.abc import Mapping

from pruning_proto.names import SHARDING_KEY
from pruning_proto.reasons import Reason
from pruning_proto.safetensors.header import LayoutError


def check_not_sharded(metadata: Mapping[str, str]) -> None:
    """Refuse a shard: a slice is not the tensor that its name says. Raises: LayoutError."""
    if SHARDING_KEY in metadata:
        raise LayoutError(
            Reason.INVALID_HEADER,
            f"the file is a shard of torch's distributed checkpoint (its metadata has the key {SHARDING_KEY!r}) and "
            "may hold slices of tensors; merge the shards first, with "
            "torch.distributed.checkpoint._consolidate_hf_safetensors.consolidate_safetensors_files, or save with "
            "HuggingFaceStorageWriter(..., enable_consolidation=True)",
        )
