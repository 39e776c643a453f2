"""Pruning with statistics: MiniLM, an encoder of 22.7 million parameters that a package ships, without any training."""

import pydoc_data.topics
import re
from typing import Any, Final

import torch
import transformers
from torch import Tensor, nn

from pruning_client import Client, Rule, rules
from pruning_client.statistics.statistics import Statistics
from pruning_client.torch import collect_statistics
from scripts.demo import minilm
from scripts.tutorial.effort import Effort

_LENGTHS: Final = range(40, 241)


def prune_minilm(client: Client, effort: Effort) -> None:
    """Prune half of MiniLM's layers by several methods, and compare the embeddings of sentences that none has seen."""
    model = transformers.AutoModel.from_pretrained(minilm().parent).eval()
    seen, unseen = sentences(effort)
    statistics = collect_statistics(model, [seen], kind="gram", include=[effort.layers])
    print(statistics, "\n")
    for name, rule in half_of_the_weights(effort.layers).items():
        pruned = pruned_by(client, model, rule, statistics)
        print(f"{name:38} {similarity(model, pruned, unseen):.3f}")


def half_of_the_weights(layers: str) -> dict[str, Rule]:
    """Return rules that prune half of each layer, from what needs least to what needs most."""
    return {
        "magnitude": rules.l1_unstructured(0.5, include=layers),
        "magnitude times inputs (Wanda)": rules.wanda(0.5, include=layers),
        "Wanda and swaps, no weight changed": rules.wanda(0.5, include=layers, swaps=True),
        "SparseGPT": rules.sparsegpt(0.5, include=layers),
        "SparseGPT and refit": rules.sparsegpt(0.5, include=layers, update="refit"),
    }


def pruned_by(client: Client, model: nn.Module, rule: Rule, statistics: Statistics) -> nn.Module:
    """Return a pruned copy; statistics that the rule does not use are not sent."""
    uses = None if rule.method == "l1_unstructured" else statistics
    result = client.prune(model.state_dict(), rule, statistics=uses)
    pruned = type(model)(model.config)
    pruned.load_state_dict(result.state_dict)
    return pruned.eval()


@torch.no_grad()
def similarity(dense: nn.Module, pruned: nn.Module, tokens: Any) -> float:
    """Return the mean cosine of the embeddings before and after; 1.0 is no change."""
    return torch.cosine_similarity(embeddings(dense, tokens), embeddings(pruned, tokens)).mean().item()


def embeddings(model: nn.Module, tokens: Any) -> Tensor:
    """Return each sentence's embedding: the mean over its tokens."""
    there = tokens["attention_mask"].unsqueeze(-1)
    mean: Tensor = (model(**tokens).last_hidden_state * there).sum(1) / there.sum(1)
    return mean


def sentences(effort: Effort) -> tuple[Any, Any]:
    """Return sentences of Python's manual as tokens: some to collect statistics from, and others to measure with."""
    prose = " ".join(" ".join(pydoc_data.topics.topics.values()).split())
    found = [sentence for sentence in re.split(r"(?<=[.!?]) (?=[A-Z])", prose) if len(sentence) in _LENGTHS]
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm().parent)
    some = found[:: len(found) // (2 * effort.sentences)][: 2 * effort.sentences]
    seen, unseen = (tokenizer(part, padding=True, return_tensors="pt") for part in (some[::2], some[1::2]))
    return seen, unseen
