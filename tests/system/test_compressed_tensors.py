"""A packed file is read by somebody else: the decompressor of the real package compressed-tensors, of its last version.

It needs transformers 4, and so an environment of its own.
"""

import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pruning_client import Client, pack_file, rules
from scripts.demo import minilm
from scripts.environments import pinned, python_with
from tests.servers import ServerProcess

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]  # the first time, the environment is made

SCRIPT = Path(__file__).with_name("compressed_tensors_reads.py")
REQUIREMENTS = [
    "compressed-tensors==0.14.0.1",
    "transformers==4.57.6",
    *map(pinned, ("torch", "numpy", "psutil", "safetensors")),
]
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int8)


def matrices() -> dict[str, torch.Tensor]:
    """Sparse matrices of every usual dtype, of rows in whole bytes of the mask and others; -0.0 and NaN among them."""
    generator = torch.Generator().manual_seed(0)
    found = {}
    for dtype in DTYPES:
        for columns in (256, 301):
            numbers = (torch.randn(64, columns, generator=generator) * 50).to(dtype)
            numbers[torch.rand(64, columns, generator=generator) < 0.9] = 0
            found[f"{dtype}.{columns}.weight"] = numbers
    found["torch.float32.256.weight"][0, :2] = torch.tensor([-0.0, torch.nan])
    return found


@pytest.fixture(scope="module")
def folder(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files, `dense` and `pruned`, and what the decompressor reads of them packed: here, and over the wire."""
    folder = tmp_path_factory.mktemp("compressed-tensors")
    save_file(matrices(), folder / "dense")
    pack_file(folder / "dense", folder / "packed-here")
    rule = rules.l1_unstructured(0.5, scope="global")
    with Client(server.address) as client:
        client.prune_file(minilm(), folder / "pruned", rule)
        client.prune_file(minilm(), folder / "packed-there", rule, output="packed")
    files = [folder / name for name in ("packed-here", "dense-read", "packed-there", "pruned-read")]
    subprocess.run([python_with("compressed-tensors", REQUIREMENTS), SCRIPT, *files], check=True)
    return folder


def raw(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().view(torch.uint8)


def test_matrices_of_every_usual_dtype_are_read_by_bits(folder: Path) -> None:
    dense, read = load_file(folder / "dense"), load_file(folder / "dense-read")
    assert read.keys() == dense.keys()
    assert [name for name, tensor in dense.items() if not torch.equal(raw(read[name]), raw(tensor))] == []


def test_real_model_that_came_packed_over_the_wire_is_read(folder: Path) -> None:
    pruned, read = load_file(folder / "pruned"), load_file(folder / "pruned-read")
    names = [name for name, tensor in pruned.items() if name.endswith(".weight") and tensor.dim() == 2]
    assert len(names) == 40
    assert [name for name in names if not torch.equal(raw(read[name]), raw(pruned[name]))] == []
