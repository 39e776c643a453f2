"""The client without extras, beside protobuf 6 and beside protobuf 7: it needs no torch and no numpy to prune."""

import json
import struct
from pathlib import Path
from typing import Literal

import pytest
import safetensors

from pruning_client import pack_file
from tests.repository.installed import Installation
from tests.servers import ServerProcess

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]  # the first time, environments are made

WEIGHTS = struct.pack("<4f", -3.0, 1.0, -2.0, 4.0)
HALF_OF_THEM = struct.pack("<4f", -3.0, 0.0, 0.0, 4.0)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint of one tensor, written by hand."""
    header = json.dumps({"fc.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, len(WEIGHTS)]}}).encode()
    path = tmp_path / "in.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + WEIGHTS)
    return path


@pytest.mark.parametrize("package", ["torch", "numpy", "safetensors", "prometheus_client"])
def test_what_the_service_needs_is_not_there(client_alone: Installation, package: str) -> None:
    assert client_alone.run("-c", f"import {package}").returncode == 1


@pytest.mark.parametrize("package", ["pruning_client", "pruning_proto"])
def test_importing_brings_in_nothing_heavy(client_alone: Installation, package: str) -> None:
    script = f"import sys, {package}; print(sorted({{'torch', 'numpy', 'rich', 'yaml'}} & set(sys.modules)))"
    done = client_alone.run("-W", "error", "-c", script)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize("package", ["service", "proto", "client", "tests", "scripts", "deploy"])
def test_folders_of_the_checkout_are_no_packages(client_alone: Installation, package: str) -> None:
    assert client_alone.run("-c", f"import {package}").returncode == 1


def test_command_line_prunes_a_file(client_alone: Installation, checkpoint: Path, server: ServerProcess) -> None:
    options = ["-o", "out.safetensors", "--method", "l1_unstructured", "--amount", "0.5", "--server", server.address]
    done = client_alone.run("-m", "pruning_client", "run", "in.safetensors", *options, folder=checkpoint.parent)
    assert done.returncode == 0, done.stderr
    result = safetensors.deserialize((checkpoint.parent / "out.safetensors").read_bytes())  # type: ignore[no-untyped-call]
    assert result == [("fc.weight", {"dtype": "F32", "shape": [2, 2], "data": HALF_OF_THEM})]


def test_python_prunes_a_file(client_alone: Installation, checkpoint: Path, server: ServerProcess) -> None:
    script = (
        "from pruning_client import Client, rules\n"
        f"with Client({server.address!r}) as client:\n"
        "    print(client.prune_file('in.safetensors', 'out.safetensors', rules.l1_unstructured(0.5)).sparsity)\n"
    )
    done = client_alone.run("-W", "error", "-c", script, folder=checkpoint.parent)
    assert (done.stdout, done.stderr) == ("0.5\n", "")


def test_inspecting_needs_no_server(client_alone: Installation, checkpoint: Path) -> None:
    done = client_alone.run("-m", "pruning_client", "inspect", "in.safetensors", "--json", folder=checkpoint.parent)
    (tensor,) = json.loads(done.stdout)["tensors"]
    assert (tensor["name"], tensor["entries"], tensor["zeros"]) == ("fc.weight", 4, 0)


def test_differences_are_counted_without_numpy(client_alone: Installation, checkpoint: Path) -> None:
    pruned = checkpoint.with_name("pruned.safetensors")
    pruned.write_bytes(checkpoint.read_bytes().replace(WEIGHTS, HALF_OF_THEM))
    words = ("-m", "pruning_client", "diff", checkpoint.name, pruned.name)
    done = client_alone.run(*words, "--json", folder=checkpoint.parent)
    (tensor,) = json.loads(done.stdout)["tensors"]
    assert (tensor["changed"], tensor["became_zero"], tensor["largest_change"]) == (2, 2, None)
    text = client_alone.run(*words, folder=checkpoint.parent).stdout
    assert "how far entries moved is not known without numpy: pip install 'pruning-service[numpy]'" in text


def test_histogram_says_that_it_needs_numpy(client_alone: Installation, checkpoint: Path) -> None:
    done = client_alone.run("-m", "pruning_client", "inspect", checkpoint.name, "--histogram", folder=checkpoint.parent)
    assert (done.returncode, done.stdout) == (1, "")
    assert "--histogram needs numpy: pip install 'pruning-service[numpy]'" in done.stderr


def test_masks_are_applied_without_numpy(client_alone: Installation, checkpoint: Path, server: ServerProcess) -> None:
    rule = ["--method", "l1_unstructured", "--amount", "0.5", "--output", "mask", "--server", server.address]
    client_alone.run("-m", "pruning_client", "run", "in.safetensors", "-o", "masks", *rule, folder=checkpoint.parent)
    words = ["apply", "in.safetensors", "masks", "-o", "out.safetensors"]
    done = client_alone.run("-W", "error", "-m", "pruning_client", *words, folder=checkpoint.parent)
    assert done.returncode == 0, done.stderr
    assert (checkpoint.parent / "out.safetensors").read_bytes().endswith(HALF_OF_THEM)


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_packed_file_is_inspected_without_numpy(
    client_alone: Installation, checkpoint: Path, compression: Literal["zstd"] | None
) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [400], "data_offsets": [0, 1600]}}).encode()
    checkpoint.write_bytes(struct.pack("<Q", len(header)) + header + bytes(1600))
    pack_file(checkpoint, checkpoint, compression=compression)
    done = client_alone.run("-m", "pruning_client", "inspect", "in.safetensors", "--json", folder=checkpoint.parent)
    (tensor,) = json.loads(done.stdout)["tensors"]
    assert (tensor["name"], tensor["entries"], tensor["zeros"], tensor["packed"]) == ("w", 400, 400, True)


@pytest.mark.parametrize("command", ["pack", "unpack"])
def test_packing_says_what_it_needs(client_alone: Installation, checkpoint: Path, command: str) -> None:
    words = ["-m", "pruning_client", command, "in.safetensors", "-o", "out.safetensors"]
    done = client_alone.run(*words, folder=checkpoint.parent)
    assert done.returncode == 1
    assert "pip install 'pruning-service[numpy]'" in done.stderr
    assert not (checkpoint.parent / "out.safetensors").exists()


def test_pruning_without_a_server_says_what_it_needs(client_alone: Installation, checkpoint: Path) -> None:
    options = ["-o", "out.safetensors", "--method", "l1_unstructured", "--amount", "0.5"]
    done = client_alone.run("-m", "pruning_client", "run", "in.safetensors", *options, folder=checkpoint.parent)
    assert done.returncode != 0
    assert "pip install 'pruning-service[local]'" in done.stderr
    assert "--server" in done.stderr
    assert not (checkpoint.parent / "out.safetensors").exists()
