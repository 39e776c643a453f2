"""GGUF files: how they begin, and the names of a model's tensors there and in the model's own files.

For the Llama, Qwen (2, 3, their MoE), Mistral (Mixtral too) and Gemma families, whose names differ in their experts
only: a name of llama.cpp may have several. llama.cpp permutes the rows of q and k of some of them, for its rotary
embedding. Statistics are of the columns, which it leaves alone.
"""

import re
from os import PathLike
from pathlib import Path
from typing import Final

from pruning_client.checkpoints.readable import check_regular

_MAGIC: Final = b"GGUF"

_LAYER: Final = re.compile(r"blk\.(\d+)\.(.+)\.weight")

_LINEAR: Final = {
    "attn_q": ("self_attn.q_proj",),
    "attn_k": ("self_attn.k_proj",),
    "attn_v": ("self_attn.v_proj",),
    "attn_output": ("self_attn.o_proj",),
    "ffn_gate": ("mlp.gate_proj",),
    "ffn_up": ("mlp.up_proj",),
    "ffn_down": ("mlp.down_proj",),
    "ffn_gate_inp": ("mlp.gate", "block_sparse_moe.gate"),
    "ffn_gate_shexp": ("mlp.shared_expert.gate_proj",),
    "ffn_up_shexp": ("mlp.shared_expert.up_proj",),
    "ffn_down_shexp": ("mlp.shared_expert.down_proj",),
    "ffn_gate_inp_shexp": ("mlp.shared_expert_gate",),
}

_EXPERTS: Final = {
    "ffn_gate_exps": (("gate_proj", "w1"),),
    "ffn_up_exps": (("up_proj", "w3"),),
    "ffn_gate_up_exps": (("gate_proj", "w1"), ("up_proj", "w3")),
    "ffn_down_exps": (("down_proj", "w2"),),
}
"""The projections of an expert: their names in Qwen's files, and in Mixtral's."""

_STACKED: Final = {
    "ffn_gate_exps": "gate_up_proj",
    "ffn_up_exps": "gate_up_proj",
    "ffn_gate_up_exps": "gate_up_proj",
    "ffn_down_exps": "down_proj",
}
"""What transformers 5 stacks the experts' weights in, as `mlp.experts.NAME`."""

_OUTPUT: Final = ("output.weight", "token_embd.weight")
"""The output head, which a model may share with its embeddings."""


def is_gguf(path: str | PathLike[str]) -> bool:
    """Whether a file is in GGUF. Raises: OSError if it cannot be read."""
    check_regular(Path(path))
    with Path(path).open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def weights_of(name: str, prefix: str) -> tuple[str, ...]:
    """Return the names of a weight of llama.cpp in a model's files; empty if they are not known, or of experts."""
    if name in _OUTPUT:
        return ("lm_head.weight",)
    match = _LAYER.fullmatch(name)
    if match is None:
        return ()
    return tuple(f"{prefix}layers.{match[1]}.{path}.weight" for path in _LINEAR.get(match[2], ()))


def expert_weights_of(name: str, prefix: str, experts: int) -> tuple[tuple[str, ...], ...]:
    """Return, for each expert of a weight of llama.cpp, its names in a model's files; empty if it has none."""
    match = _LAYER.fullmatch(name)
    if match is None or match[2] not in _EXPERTS:
        return ()
    layer = f"{prefix}layers.{match[1]}"
    return tuple(
        tuple(
            path
            for qwen, mixtral in _EXPERTS[match[2]]
            for path in (
                f"{layer}.mlp.experts.{expert}.{qwen}.weight",
                f"{layer}.block_sparse_moe.experts.{expert}.{mixtral}.weight",
            )
        )
        for expert in range(experts)
    )


def stacked_weight_of(name: str, prefix: str) -> str:
    """Return the weight in memory that stacks the experts of a weight of llama.cpp."""
    match = _LAYER.fullmatch(name)
    if match is None:
        raise ValueError(name)
    return f"{prefix}layers.{match[1]}.mlp.experts.{_STACKED[match[2]]}"
