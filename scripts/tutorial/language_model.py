"""Pruning with statistics: a small language model, which predicts the bytes of Python's manual."""

import math
import pydoc_data.topics
from typing import Any, Final

import torch
import transformers
from torch import Tensor, nn

from pruning_client import Client, Rule, rules
from pruning_client.torch import collect_statistics
from scripts.tutorial.effort import Effort

LENGTH: Final = 128
BATCH: Final = 16
HELD_OUT: Final = 64


def prune_language_model(client: Client, effort: Effort) -> None:
    """Prune 60 % of a language model, and 2 of each 4 weights; compare perplexities on text that it has not seen."""
    training, held_out = sequences()
    model = trained_on(training, effort)
    batches = [{"input_ids": batch, "labels": batch} for batch in torch.split(training[: effort.sequences], BATCH)]
    statistics = collect_statistics(model, batches, kind="gram", loss=lambda output: output.loss)
    print(f"{'perplexity':34} 60 %    2:4\n{'dense':34} {perplexity(model, held_out):.3f}")
    for name, (amount, pattern) in methods().items():
        numbers = []
        for rule in (amount, pattern):
            needs = None if name == "magnitude" else statistics
            result = client.prune(model.state_dict(), rule, statistics=needs)
            pruned: Any = transformers.LlamaForCausalLM(model.config)
            pruned.load_state_dict(result.state_dict)
            numbers.append(f"{perplexity(pruned.eval(), held_out):.3f}")
        print(f"{name:34} {'   '.join(numbers)}")


def methods() -> dict[str, tuple[Rule, Rule]]:
    """Return for each method the rule of 60 % and the one of 2:4."""
    return {
        "magnitude": (rules.l1_unstructured(0.6), rules.n_of_m(2, 4)),
        "Wanda": (rules.wanda(0.6), rules.wanda(n_of_m=(2, 4))),
        "RIA": (rules.ria(0.6), rules.ria(n_of_m=(2, 4))),
        "SparseGPT": (rules.sparsegpt(0.6), rules.sparsegpt(n_of_m=(2, 4))),
        "SparseGPT and refit": (
            rules.sparsegpt(0.6, update="refit"),
            rules.sparsegpt(n_of_m=(2, 4), update="refit"),
        ),
    }


def trained_on(training: Tensor, effort: Effort) -> Any:
    """Return a LLaMA of four layers that has learned the bytes of a text; this takes a minute."""
    torch.manual_seed(0)
    model: Any = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=256,
            hidden_size=128,
            intermediate_size=352,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=4,
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=effort.language_steps + 1)
    for _ in range(effort.language_steps):
        batch = training[torch.randint(len(training), (BATCH,))]
        model(input_ids=batch, labels=batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return model.eval()


@torch.no_grad()
def perplexity(model: nn.Module, held_out: Tensor) -> float:
    """Return exp of the mean loss: among how many bytes the model still hesitates."""
    losses = [model(input_ids=batch, labels=batch).loss.item() for batch in torch.split(held_out, BATCH)]
    return math.exp(sum(losses) / len(losses))


def sequences() -> tuple[Tensor, Tensor]:
    """Return Python's manual as rows of bytes: most to train on, and some that are held out."""
    text = "\n".join(pydoc_data.topics.topics.values()).encode()
    rows = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()[: len(text) // LENGTH * LENGTH].view(-1, LENGTH)
    step = len(rows) // HELD_OUT
    is_held_out = torch.arange(len(rows)) % step == 0
    return rows[~is_held_out], rows[is_held_out][:HELD_OUT]
