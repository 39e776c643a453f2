"""Both sides by name: the peers' methods, layer by layer, and the service's rules, on whole models."""

import copy
from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor, nn

from pruning_client import Client, Rule, Statistics, rules
from pruning_client.torch import load_pruned
from tests.benchmarks.quality import peers
from tests.benchmarks.quality.amounts import Amount, part_of, pattern_of
from tests.benchmarks.quality.subjects import Subject

Builder: TypeAlias = Callable[[Amount, tuple[str, ...]], Rule]
"""Takes an amount and the patterns of weights."""

PEERS: Final[Mapping[str, Callable[[Tensor, Tensor, Amount], Tensor]]] = {
    "magnitude": lambda weight, _, amount: peers.magnitude(weight, amount),
    "Wanda": peers.wanda,
    "SparseGPT": peers.sparsegpt,
}

NORMS: Final[Mapping[str, Builder]] = {
    "wanda": lambda amount, include: rules.wanda(part_of(amount), n_of_m=pattern_of(amount), include=include),
    "ria": lambda amount, include: rules.ria(part_of(amount), n_of_m=pattern_of(amount), include=include),
}
"""Methods that norms are enough for."""

GRAMS: Final[Mapping[str, Builder]] = {
    "wanda, swaps": lambda amount, include: rules.wanda(
        part_of(amount), n_of_m=pattern_of(amount), include=include, swaps=True
    ),
    "wanda, refit": lambda amount, include: rules.wanda(
        part_of(amount), n_of_m=pattern_of(amount), include=include, update="refit"
    ),
    "wanda, swaps, refit": lambda amount, include: rules.wanda(
        part_of(amount), n_of_m=pattern_of(amount), include=include, swaps=True, update="refit"
    ),
    "sparsegpt": lambda amount, include: rules.sparsegpt(part_of(amount), n_of_m=pattern_of(amount), include=include),
    "sparsegpt, refit": lambda amount, include: rules.sparsegpt(
        part_of(amount), n_of_m=pattern_of(amount), include=include, update="refit"
    ),
    "alps": lambda amount, include: rules.alps(part_of(amount), n_of_m=pattern_of(amount), include=include),
    "sparsegpt by rows, swaps, refit": lambda amount, include: rules.sparsegpt(
        part_of(amount),
        n_of_m=pattern_of(amount),
        include=include,
        scope="local" if pattern_of(amount) else "output_channel",
        swaps=True,
        update="refit",
    ),
}
"""Methods that need Gram matrices of the inputs."""

REFITS: Final[Mapping[str, Builder]] = {name: GRAMS[name] for name in ("wanda, refit", "sparsegpt, refit", "alps")}
"""Methods that use the gradients of the outputs, where they are sent."""

CHANNELS: Final[Mapping[str, Callable[[str], Rule]]] = {
    "random": lambda ffn: rules.remove_random(0.5, map=ffn),
    "norm of weights": lambda ffn: rules.remove_units(0.5, map=ffn),
    "norm of weights, refit": lambda ffn: rules.remove_units(0.5, map=ffn, score="magnitude", update="refit"),
    "activation norm, refit": lambda ffn: rules.remove_units(0.5, map=ffn, score="activation_norm", update="refit"),
    "flap, refit": lambda ffn: rules.remove_units(0.5, map=ffn, score="flap", update="refit"),
    "obs, refit": lambda ffn: rules.remove_units(0.5, map=ffn, score="obs", update="refit"),
}
"""Half of the feed-forward channels. The last one is what statistics with Gram matrices choose by default."""

GATED_CHANNELS: Final[Mapping[str, Callable[[str], Rule]]] = {
    "glu peak to peak": lambda ffn: rules.remove_units(0.5, map=ffn, score="glu_peak_to_peak"),
    "glu peak to peak, refit": lambda ffn: rules.remove_units(0.5, map=ffn, score="glu_peak_to_peak", update="refit"),
}
"""The same, of MLPs with a gate."""


@torch.no_grad()
def pruned_by_peer(name: str, subject: Subject, grams: Mapping[str, Tensor], amount: Amount) -> nn.Module:
    """Return a copy of the model with each matrix pruned by itself."""
    pruned = copy.deepcopy(subject.model)
    for layer in subject.layers():
        weight = pruned.get_parameter(f"{layer}.weight")
        weight.copy_(PEERS[name](weight, grams[layer], amount))
    return pruned


def pruned_by_service(client: Client, rule: Rule, subject: Subject, statistics: Statistics | None) -> nn.Module:
    """Return a copy of the model, pruned by a server; smaller if the rule is about units."""
    output: Literal["removed", "pruned"] = "removed" if rule.method == "remove_units" else "pruned"
    pruned = copy.deepcopy(subject.model)
    load_pruned(pruned, client.prune(pruned.state_dict(), rule, output=output, seed=1, statistics=statistics))
    return pruned
