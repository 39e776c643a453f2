"""Folders of tiny models with what real ones have: shards, empty tensors, several dtypes, tokenizers, other weights."""

import json
import random
import struct
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from math import prod
from pathlib import Path

from pruning_proto.safetensors.header import build

Described = tuple[str, str, tuple[int, ...]]

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 4,
    "vocab_size": 24,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
}


def tensors() -> list[Described]:
    """The tensors of a LLaMA of two layers; one is empty, one has another dtype, and is wider than its neighbours."""
    layers: list[Described] = []
    for layer in ("model.layers.0", "model.layers.1"):
        layers += [(f"{layer}.self_attn.{name}_proj.weight", "F32", (16, 16)) for name in "qkvo"]
        layers += [(f"{layer}.mlp.{name}_proj.weight", "F32", (32, 16)) for name in ("gate", "up")]
        layers += [
            (f"{layer}.mlp.down_proj.weight", "F32", (16, 32)),
            (f"{layer}.input_layernorm.weight", "BF16", (16,)),
            (f"{layer}.post_attention_layernorm.weight", "F32", (16,)),
        ]
    return [
        ("model.embed_tokens.weight", "F32", (24, 16)),
        *layers,
        ("model.norm.weight", "F32", (16,)),
        ("model.extra.empty", "F32", (0, 4)),
        ("lm_head.weight", "F32", (24, 16)),
    ]


def file_of(described: Sequence[Described], seed: int = 0) -> bytes:
    """A safetensors file of tensors with random entries."""
    header, layout = build(described, {"format": "pt"})
    generator = random.Random(seed)  # noqa: S311 - no secret
    data = b"".join(_entry(generator, dtype) for _, dtype, shape in described for _ in range(prod(shape)))
    assert layout.total_bytes == len(header) + len(data)
    return header + data


def _entry(generator: random.Random, dtype: str) -> bytes:
    entry = struct.pack("<f", generator.gauss(0, 1))
    return entry if dtype == "F32" else entry[2:]  # BF16 is its upper half


def write_single(folder: Path) -> Path:
    """Write a folder whose weights are one file."""
    _write_others(folder)
    (folder / "model.safetensors").write_bytes(file_of(tensors()))
    return folder


def write_sharded(folder: Path, count: int = 3) -> Path:
    """Write a folder whose weights are in several files."""
    _write_others(folder)
    described = tensors()
    ends = [0, *accumulate(_sizes(len(described), count))]
    parts = [described[begin:end] for begin, end in pairwise(ends)]
    weight_map: dict[str, str] = {}
    for number, part in enumerate(parts, 1):
        name = f"model-{number:05}-of-{count:05}.safetensors"
        (folder / name).write_bytes(file_of(part, number))
        weight_map |= {tensor: name for tensor, _, _ in part}
    index = {"metadata": {"total_size": 1, "total_parameters": 1}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def _sizes(total: int, count: int) -> Iterator[int]:
    for number in range(count):
        yield total // count + (number < total % count)


def _write_others(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "generation_config.json").write_text("{}")
    (folder / "notes").mkdir()
    (folder / "notes" / "read me.md").write_text("ours")
    (folder / "pytorch_model.bin").write_bytes(b"the same weights, not pruned")
    (folder / "2_Dense").mkdir()
    (folder / "2_Dense" / "model.safetensors").write_bytes(file_of([("linear.weight", "F32", (4, 4))]))


def contents(folder: Path) -> Mapping[str, bytes]:
    """The files of a folder by their paths in it."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
