"""Channels removed from experts: transformers computes with some widths only, and the report says so."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from pruning_client import rules
from pruning_client.errors import MismatchError
from pruning_client.huggingface.folder import prune_folder
from pruning_client.local.client import LocalClient
from tests.client.huggingface.tiny_experts import logits


def smaller(folder: Path, dtype: torch.dtype, **options: int) -> tuple[list[str], Any]:
    """Remove channels of experts of 16; return the kinds of the warnings, and how the result is loaded."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "head_dim": 8}
    load: Any = transformers.Qwen3MoeForCausalLM
    config: Any = transformers.Qwen3MoeConfig
    load(config(vocab_size=50, num_hidden_layers=1, **sizes, **experts)).to(dtype).save_pretrained(folder / "model")
    rule = rules.remove_units(3, map="llama_mlp", **options)  # type: ignore[arg-type]
    report = prune_folder(LocalClient(), folder / "model", folder / "small", rule)
    kinds = [warning.kind for warning in report.warnings if warning.kind != "units_by_weights"]
    return kinds, lambda **loading: load.from_pretrained(folder / "small", dtype=dtype, **loading).eval()


@pytest.mark.timeout(600)
def test_width_that_fails_is_told(tmp_path: Path) -> None:
    kinds, load = smaller(tmp_path, torch.float32)
    assert kinds == ["expert_width"]
    with pytest.raises(RuntimeError, match="multiple of 16 bytes"):
        logits(load())
    assert logits(load(experts_implementation="eager")).isfinite().all()


@pytest.mark.timeout(600)
def test_width_that_the_check_sees_fail_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match=r"keep a multiple \(--round-to 8\)"):
        smaller(tmp_path, torch.bfloat16)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("dtype", "multiple"), [(torch.bfloat16, 8), (torch.float32, 4)], ids=["of 8 in bf16", "of 4 in fp32"]
)
def test_rounded_width_computes(tmp_path: Path, dtype: torch.dtype, multiple: int) -> None:
    kinds, load = smaller(tmp_path, dtype, round_to=multiple)
    assert kinds == []
    assert logits(load()).isfinite().all()
