"""Shards of torch's distributed checkpoints are recognized by their metadata."""

import importlib

import pytest

from pruning_proto.names import SHARDING_KEY
from pruning_proto.reasons import Reason
from pruning_proto.safetensors.distributed import check_not_sharded
from pruning_proto.safetensors.header import LayoutError


def test_shard_is_refused() -> None:
    with pytest.raises(LayoutError, match="consolidate_safetensors_files") as caught:
        check_not_sharded({"format": "pt", SHARDING_KEY: "{}"})
    assert caught.value.reason == Reason.INVALID_HEADER


def test_whole_file_is_accepted() -> None:
    check_not_sharded({"format": "pt", "DCP_VERSION": "1.0"})


def test_the_named_tool_is_torch_s() -> None:
    tool = importlib.import_module("torch.distributed.checkpoint._consolidate_hf_safetensors")
    assert callable(tool.consolidate_safetensors_files)
