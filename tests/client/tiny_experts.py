"""A tiny mixture-of-experts model as Mixtral has it, one tensor per expert: as arrays, or in a folder of shards."""

import json
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

Arrays: TypeAlias = dict[str, NDArray[Any]]

LAYERS, EXPERTS, HIDDEN, WIDTH, TOKENS = 2, 4, 8, 6, 32
CONFIG = {
    "architectures": ["MixtralForCausalLM"],
    "hidden_size": HIDDEN,
    "intermediate_size": WIDTH,
    "max_position_embeddings": 16,
    "num_attention_heads": 2,
    "num_experts_per_tok": 2,
    "num_hidden_layers": LAYERS,
    "num_key_value_heads": 2,
    "num_local_experts": EXPERTS,
    "vocab_size": TOKENS,
}


def block(layer: int) -> str:
    """The name of the group of a layer's experts."""
    return f"model.layers.{layer}.block_sparse_moe"


def arrays() -> Arrays:
    """The weights, all different."""
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (TOKENS, HIDDEN)}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}"
        shapes |= {f"{prefix}.self_attn.{name}_proj.weight": (HIDDEN, HIDDEN) for name in "qkvo"}
        shapes |= {f"{prefix}.{name}_layernorm.weight": (HIDDEN,) for name in ("input", "post_attention")}
        shapes |= {f"{block(layer)}.gate.weight": (EXPERTS, HIDDEN)}
        for expert in range(EXPERTS):
            name = f"{block(layer)}.experts.{expert}"
            shapes |= {f"{name}.w1.weight": (WIDTH, HIDDEN), f"{name}.w3.weight": (WIDTH, HIDDEN)}
            shapes |= {f"{name}.w2.weight": (HIDDEN, WIDTH)}
    shapes |= {"model.norm.weight": (HIDDEN,), "lm_head.weight": (TOKENS, HIDDEN)}
    random = np.random.default_rng(0)
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def folder(path: Path, weights: Arrays, **config: object) -> Path:
    """A folder of the model: its config, and a shard for each layer, between those of embeddings and head."""
    path.mkdir()
    (path / "config.json").write_text(json.dumps(CONFIG | config))
    shards: dict[int, Arrays] = {}
    for name, array in weights.items():
        layer = int(name.split(".")[2]) + 1 if ".layers." in name else 0
        shards.setdefault(layer, {})[name] = array
    files = {number: f"model-{number + 1:05}-of-{len(shards):05}.safetensors" for number in shards}
    for number, own in shards.items():
        save_file(own, path / files[number], {"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: files[number] for number, own in shards.items() for name in own}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    return path
