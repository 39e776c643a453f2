"""Channels of a real model really removed, by the command line: half of MiniLM's feed-forward units are gone."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from pruning_client.torch import load_pruned
from scripts.demo import minilm
from tests.servers import ServerProcess

PRUNE = Path(sys.executable).with_name("prune")
SENTENCES = [
    "A cat sleeps on the warm sofa.",
    "A kitten naps on the couch.",
    "The central bank raised its rates again.",
]


@pytest.fixture(scope="module")
def report(server: ServerProcess, small: Path) -> dict[str, Any]:
    """What the command said while it made `small`."""
    words = ["--output", "removed", "--map", "bert_ffn", "--amount", "0.5", "--same-width", "--round-to", "8"]
    command: list[str | Path] = [
        PRUNE,
        "run",
        minilm().parent,
        "-o",
        small,
        *words,
        "--json",
        "--server",
        server.address,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("minilm") / "small"


def loaded(folder: Path) -> Any:
    """Load a model; nothing is missing, too much or of another shape."""
    load: Any = transformers.AutoModel.from_pretrained
    found, info = load(folder, output_loading_info=True)
    assert [kind for kind, names in info.items() if names] == []
    return found


def embedded(model: Any) -> Tensor:
    """Return the sentences' embeddings, the mean over their tokens, of length 1."""
    batch = transformers.AutoTokenizer.from_pretrained(minilm().parent)(SENTENCES, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = model.eval()(**batch).last_hidden_state
    seen = batch["attention_mask"].unsqueeze(-1)
    return torch.nn.functional.normalize((states * seen).sum(1) / seen.sum(1))


def test_report_names_the_units_that_are_left(report: dict[str, Any]) -> None:
    assert [len(group["kept"]) for group in report["groups"]] == [768] * 6
    assert report["groups"][0]["name"] == "encoder.layer.0"
    assert report["groups"][0]["kept"] == sorted(set(report["groups"][0]["kept"]))


def test_file_is_smaller_by_what_was_removed(report: dict[str, Any], small: Path) -> None:
    removed = 6 * 768 * (384 + 1 + 384) * 4
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (minilm().parent, small)]
    assert report["result_bytes"] == sizes[1]
    assert abs(sizes[0] - sizes[1] - removed) < 4096


def test_transformers_loads_it_and_it_still_tells_sentences_apart(report: dict[str, Any], small: Path) -> None:
    model = loaded(small)
    assert model.config.intermediate_size == 768
    alike = embedded(model) @ embedded(model).T
    assert alike[0, 1] > 0.5
    assert alike[0, 2] < 0.3


def test_it_loads_into_a_model_built_at_its_old_size(report: dict[str, Any], small: Path) -> None:
    fresh = transformers.BertModel(transformers.AutoConfig.from_pretrained(minilm().parent))
    keys = load_pruned(fresh, small / "model.safetensors", strict=False)
    assert keys.missing_keys == ()
    assert torch.equal(embedded(fresh), embedded(loaded(small)))
