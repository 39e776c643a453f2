"""Every example that a command's help shows, run by a shell on small files, with a real server and its store."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertModel

from pruning_client import Client, rules
from pruning_client.cli.help.examples import EXAMPLES, Example
from pruning_client.cli.main import run
from pruning_client.torch import collect_statistics
from pruning_service.options import EXAMPLES as EXAMPLES_OF_SERVE
from tests.client.tokenizers.trained import saved
from tests.servers import ServerProcess, running_server

pytestmark = pytest.mark.timeout(300)  # a folder's result is checked by transformers, which takes long to import

PRINTED_SERVER: Final = "localhost:50051"
PRINTED_STORE: Final = "s3://models"
JOB: Final = "nightly"
MAKES_THE_JOB: Final = "--detach"

RUNS: Final = [pytest.param(each, id=each.line) for examples in EXAMPLES.values() for each in examples]
HALF: Final = ("--method", "l1_unstructured", "--amount", "50%")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the examples name."""
    folder = tmp_path_factory.mktemp("files")
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(12, 16), torch.nn.ReLU(), torch.nn.Linear(16, 8))
    save_file(layers.state_dict(), folder / "model.safetensors")
    torch.save(layers.state_dict(), folder / "pytorch_model.bin")
    collect_statistics(layers, [torch.randn(64, 12)], kind="gram").save(folder / "statistics.safetensors")
    config = BertConfig(hidden_size=8, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, vocab_size=40)
    BertModel(config).save_pretrained(folder / "bert")
    saved("word_piece", folder / "bert")
    (folder / "text.txt").write_text("the cat sat on the mat")
    model, pruned = str(folder / "model.safetensors"), str(folder / "pruned.safetensors")
    (folder / "recipe.yaml").write_text("rules: [{method: l1_unstructured, amount: 0.5}]\n")
    assert run(["run", model, "-o", pruned, *HALF, "--report", str(folder / "report.json")]) == 0
    assert run(["run", model, "-o", str(folder / "masks.safetensors"), *HALF, "--output", "mask"]) == 0
    assert run(["pack", pruned, "-o", str(folder / "packed.safetensors")]) == 0
    return folder


@pytest.fixture(scope="module")
def store(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("store")
    shutil.copytree(files / "bert", root / "bert")
    return root


@pytest.fixture(scope="module")
def with_jobs(store: Path) -> Iterator[ServerProcess]:
    with running_server(stores=f"file://{store}") as server:
        yield server


@pytest.fixture
def job(with_jobs: ServerProcess, store: Path, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """The name of a job of this test, which there is if the example needs one; done, if only then it can be deleted."""
    line, name = request.node.callspec.params["example"].line, tmp_path.name.replace("_", "-")
    if f" {JOB} " in line and MAKES_THE_JOB not in line:
        with Client(with_jobs.address) as client:
            made = client.prune_checkpoint(
                f"file://{store}/bert", f"file://{store}/{name}", rules.l1_unstructured(0.5), name=name
            )
            if " delete " in line:
                made.wait()
    return name


@pytest.mark.parametrize("example", RUNS)
def test_example_runs(
    example: Example, files: Path, store: Path, with_jobs: ServerProcess, job: str, tmp_path: Path
) -> None:
    shutil.copytree(files, tmp_path / "here")
    line = example.line.replace(PRINTED_SERVER, with_jobs.address).replace(PRINTED_STORE, f"file://{store}")
    line = line.replace(JOB, job).replace("bert-half", job)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line],
        cwd=tmp_path / "here",
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    assert "error:" not in done.stderr


@pytest.mark.parametrize("line", EXAMPLES_OF_SERVE)
def test_example_of_a_server_serves(line: str, store: Path) -> None:
    line = line.replace("127.0.0.1:50051", "127.0.0.1:0").replace(PRINTED_STORE, f"file://{store}")
    with running_server(*line.removeprefix("prune serve ").split()) as server, Client(server.address) as client:
        assert client.capabilities().version
