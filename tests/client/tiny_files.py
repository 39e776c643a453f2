"""Tiny safetensors files, written out."""

import struct
from collections.abc import Mapping
from pathlib import Path

from pruning_proto.safetensors.header import build

F32 = "F32"


def floats(*values: float) -> bytes:
    """The bytes of fp32 values."""
    return struct.pack(f"<{len(values)}f", *values)


def checkpoint(
    tensors: Mapping[str, tuple[str, tuple[int, ...], bytes]], metadata: dict[str, str] | None = None
) -> bytes:
    """A safetensors file of name -> (dtype, shape, bytes)."""
    header, _ = build([(name, dtype, shape) for name, (dtype, shape, _) in tensors.items()], metadata or {})
    return header + b"".join(content for _, _, content in tensors.values())


def weight(*values: float) -> bytes:
    """A safetensors file of one matrix `fc.weight` of two rows."""
    return checkpoint({"fc.weight": (F32, (2, len(values) // 2), floats(*values))})


def written(path: Path, content: bytes) -> Path:
    """`path`, holding `content`."""
    path.write_bytes(content)
    return path
