"""imatrix files as llama.cpp's `llama-imatrix` writes them, written with its package `gguf`."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np


def write_imatrix(path: Path, sums: Mapping[str, list[list[float]]], counts: Mapping[str, list[int]]) -> Path:
    """Write sums of squares of shape (experts or 1, C), and counts, by llama.cpp's names of weights."""
    import gguf  # noqa: PLC0415 - of the extra `imatrix`

    writer = gguf.GGUFWriter(path, arch="", use_temp_file=False)
    writer.kv_data[0].clear()  # the writer's own `general.architecture`, which an imatrix lacks
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["calibration.txt"])
    writer.add_uint32("imatrix.chunk_count", 1)
    writer.add_uint32("imatrix.chunk_size", 512)
    for name, values in sums.items():
        writer.add_tensor(f"{name}.in_sum2", np.array(values, np.float32))
        writer.add_tensor(f"{name}.counts", np.array(counts[name], np.float32).reshape(-1, 1))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
