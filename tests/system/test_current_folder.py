"""The current folder may be a downloaded model's: no command, and no child process, imports a Python file from it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import save_file

from pruning_client.checkpoints.file import FileSource
from pruning_client.huggingface.transformers_check import TransformersCheck

PRUNE = Path(sys.executable).with_name("prune")
PYTHON = (sys.executable, "-P")
"""As `Dockerfile` and the documentation start Python."""

PLANTED = (
    *("_json", "json", "re", "re2", "asyncio", "pathlib", "pickle", "sitecustomize", "usercustomize"),
    *("accelerate", "diffusers", "huggingface_hub", "tokenizers", "transformers"),
    *("cloudpickle", "google", "grpc", "grpc_health", "numpy", "prometheus_client", "pydantic", "rich", "safetensors"),
    *("pruning_client", "pruning_engine", "pruning_proto", "pruning_service", "torch", "torch_pruning", "yaml"),
)
RULE = ("--method", "l1_unstructured", "--amount", "0.5")
REMOVAL = ("--output", "removed", "--map", "llama_mlp", "--same-width", "--amount", "0.5")
PORTS = ("--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--until-stdin-closes")

COMMANDS: Mapping[str, tuple[str | Path, ...]] = {
    "help": (PRUNE, "--help"),
    "run": (PRUNE, "run", "in.safetensors", "-o", "out.safetensors", *RULE),
    "run_folder": (PRUNE, "run", ".", "-o", "out", *RULE),
    "run_mask": (PRUNE, "run", "in.safetensors", "-o", "out.masks", "--output", "mask", *RULE),
    "run_recipe": (PRUNE, "run", "in.safetensors", "-o", "out.of-recipe", "--recipe", "recipe.yaml"),
    "run_removed": (PRUNE, "run", "model", "-o", "out.folder", *REMOVAL),
    "plan": (PRUNE, "run", "in.safetensors", "--plan", *RULE),
    "dry_run": (PRUNE, "run", "in.safetensors", "--dry-run", *RULE),
    "apply": (PRUNE, "apply", "in.safetensors", "in.safetensors", "-o", "out.applied"),
    "unpack": (PRUNE, "unpack", "in.safetensors", "-o", "out.dense"),
    "convert": (PRUNE, "convert", "in.bin", "-o", "out.converted"),
    "inspect_folder": (PRUNE, "inspect", "model"),
    "recipe": (PRUNE, "recipe", *RULE),
    "pack": (PRUNE, "pack", "in.safetensors", "-o", "out.packed"),
    "inspect": (PRUNE, "inspect", "in.safetensors"),
    "methods": (PRUNE, "methods"),
    "methods_of_no_server": (PRUNE, "methods", "--server", "127.0.0.1:1"),
    "serve": (PRUNE, "serve", *PORTS),
    "service": (*PYTHON, "-m", "pruning_service", *PORTS),
    "probe": (*PYTHON, "-m", "pruning_service.probe"),
    "client": (*PYTHON, "-m", "pruning_client", "run", "in.safetensors", "-o", "out.safetensors", *RULE),
}


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model as transformers saves it, and a file of torch.save."""
    folder = tmp_path_factory.mktemp("llama")
    sizes: dict[str, Any] = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.LlamaConfig(vocab_size=16, num_key_value_heads=2, **sizes)
    transformers.LlamaForCausalLM(config).save_pretrained(folder / "model")
    torch.save({"a.weight": torch.ones(4, 4)}, folder / "in.bin")
    return folder


@pytest.fixture
def folder(tmp_path: Path, llama: Path) -> Path:
    """A model's folder that also has a Python file for each name in PLANTED, which leaves a trace if it is imported."""
    shutil.copytree(llama, tmp_path, dirs_exist_ok=True)
    save_file({"a.weight": np.ones((4, 4), np.float32)}, tmp_path / "in.safetensors")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "recipe.yaml").write_text("rules: [{score: {magnitude: {}}, amount: {fraction: 0.5}}]")
    for name in PLANTED:
        trace = tmp_path / f"{name}.imported"
        (tmp_path / f"{name}.py").write_text(f"open({str(trace)!r}, 'w').close()\nraise ImportError({name!r})\n")
    return tmp_path


def traces(folder: Path) -> list[str]:
    return sorted(trace.stem for trace in folder.glob("*.imported"))


def run(folder: Path, *command: str | Path) -> "subprocess.CompletedProcess[str]":
    kept = {name: text for name, text in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    return subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env={**kept, "PRUNING_HEALTH_LISTEN": "127.0.0.1:0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_planted_module_leaves_a_trace(folder: Path) -> None:
    run(folder, sys.executable, "-c", "import json")
    assert "json" in traces(folder)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_command_imports_nothing_from_the_current_folder(folder: Path, command: tuple[str | Path, ...]) -> None:
    done = run(folder, *command)
    assert traces(folder) == []
    assert "ImportError" not in done.stderr, done.stderr


COMPLETE = ("run", "run_removed", "run_mask", "run_recipe", "plan", "dry_run", "pack", "convert", "inspect", "recipe")


@pytest.mark.parametrize("name", COMPLETE)
def test_command_does_its_work_among_them(folder: Path, name: str) -> None:
    assert run(folder, *COMMANDS[name]).returncode == 0


def test_child_that_builds_the_model_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend("")
    config = json.loads((folder / "model" / "config.json").read_text())
    shapes = {entry.name: entry.shape for entry in FileSource(folder / "model" / "model.safetensors").layout.tensors}
    with TransformersCheck(config) as check:
        assert check.misfits((config, shapes), (config, shapes)) == []
    assert traces(folder) == []


DERIVE = """
import sys, os
import torch
from pruning_client.torch import derive_groups
import numpy, json, cloudpickle, torch_pruning, grpc
os.chdir(sys.argv[1])
sys.path.insert(0, '')  # as in an interactive session
model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
print(len(derive_groups(model, torch.rand(1, 3))))
"""


def test_child_of_derive_groups_imports_nothing_from_the_current_folder(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pytest.importorskip("torch_pruning")
    done = run(tmp_path_factory.mktemp("elsewhere"), *PYTHON, "-c", DERIVE, folder)
    assert done.stdout == "1\n", done.stderr
    assert traces(folder) == []
