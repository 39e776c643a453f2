"""Tiny models of every family without some experts: they load, and compute what a masked router makes of the others."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.client.huggingface.expert_removal import without_experts
from tests.client.huggingface.tiny_experts import FAMILIES, logits, logits_without, moe

REMOVED = (1, 4)
"""One of each half, so that two groups of experts keep as many."""

_FAULTS = ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs", "conversion_errors")


def loaded(model_class: Any, folder: Path) -> Any:
    """Load a model in fp32; every tensor of the file has its place, and every place its tensor."""
    model, found = model_class.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert {kind: found[kind] for kind in _FAULTS if found.get(kind)} == {}
    return model.eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_model_without_experts_computes_as_with_a_masked_router(tmp_path: Path, family: str) -> None:
    model = moe(family).to(torch.bfloat16 if len(family) % 2 else torch.float32)
    model.save_pretrained(tmp_path / "model")
    small = loaded(type(model), without_experts(tmp_path / "model", REMOVED))
    full = loaded(type(model), tmp_path / "model")
    torch.testing.assert_close(logits(small), logits_without(full, REMOVED), rtol=1e-5, atol=1e-5)
