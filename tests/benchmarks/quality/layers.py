"""What block influence picks, against the best layers by trying all. `python -m tests.benchmarks.quality.layers`

One and two of the six layers of the small LLaMA are removed by the service, and the held-out perplexity is measured.
"""

import sys
from collections.abc import Iterator
from itertools import combinations
from typing import Any, Final

import transformers
from torch import nn

from pruning_client import Client, rules
from pruning_client.statistics.unit_scores import unit_scores_of
from pruning_client.torch import collect_statistics
from tests.benchmarks.quality.decoder import Decoder, decoder, perplexity
from tests.servers import running_server

_STACK: Final = "model.layers"
_SEQUENCES: Final = 16
"""Of calibration, and of held-out text: 21 smaller models are measured."""


def main() -> None:
    """Print a table with a line for each number of removed layers."""
    subject = decoder()
    influence = _influence(subject)
    with running_server() as server, Client(server.address) as client:
        sys.stdout.write(f"perplexity of the dense model: {_quality(subject.model, subject):.1f}\n")
        sys.stdout.write("| removed | best of all | perplexity | by block influence | perplexity | worst |\n")
        sys.stdout.write("| --: | --- | --: | --- | --: | --: |\n")
        for line in _lines(client, subject, influence):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


def _influence(subject: Decoder) -> list[float]:
    """Return the block influence of each layer: the mean over tokens."""
    batches = [{"input_ids": subject.calibration[:_SEQUENCES]}]
    return list(unit_scores_of(collect_statistics(subject.model, batches, kind="layers"))[_STACK])


def _quality(model: nn.Module, subject: Decoder) -> float:
    return perplexity(model, subject.held_out[:_SEQUENCES])


def _lines(client: Client, subject: Decoder, influence: list[float]) -> Iterator[str]:
    for number in (1, 2):
        measured = {
            dropped: _quality(_without(client, subject, dropped), subject)
            for dropped in combinations(range(len(influence)), number)
        }
        best = min(measured, key=measured.__getitem__)
        picked = tuple(sorted(sorted(range(len(influence)), key=influence.__getitem__)[:number]))
        names = [" and ".join(map(str, each)) for each in (best, picked)]
        yield (
            f"| {number} | {names[0]} | {measured[best]:.1f} | {names[1]} | {measured[picked]:.1f} | "
            f"{max(measured.values()):.1f} |"
        )


def _without(client: Client, subject: Decoder, dropped: tuple[int, ...]) -> nn.Module:
    """Return the model without these layers."""
    state = client.prune(subject.model.state_dict(), rules.drop_layers({_STACK: dropped}), output="removed").state_dict
    dense: Any = subject.model
    config = transformers.LlamaConfig.from_dict(dense.config.to_dict())
    config.num_hidden_layers -= len(dropped)
    model: nn.Module = transformers.LlamaForCausalLM(config)
    model.load_state_dict(state)
    return model.eval()


if __name__ == "__main__":
    main()
