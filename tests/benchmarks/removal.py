"""What removal gives, and what it costs, in three tables. `python -m tests.benchmarks.removal [--rounds N]`

A LeNet with half of the channels of every layer removed, and MiniLM with half of its feed-forward channels removed,
each against itself as it was, in one process: both take turns, batch by batch, and the medians count. Floating-point
operations are counted by torch. Then MiniLM's embeddings of real sentences, before and after pruning, by cosine. Last,
the processor time of removing MiniLM's channels on the command line, with a refit and without.
"""

import argparse
import copy
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import torch
import transformers
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pruning_client import Client, Rule, rules
from pruning_client.torch import collect_statistics, load_pruned
from scripts.demo import minilm
from scripts.tutorial.digits import SIDE, LeNet
from scripts.tutorial.smaller import coupled_channels, parameters
from tests.benchmarks.sentences import CALIBRATION, SENTENCES
from tests.servers import running_server

IMAGES: Final = 256
BATCH: Final = (16, 128)
"""Sentences, and tokens of each."""

WARM_UP: Final = 3
REMOVALS: Final = 3
"""Runs of which the fastest counts."""

GOAL: Final = 1.1
"""The most that time may shrink less than operations do."""

SPARSITIES: Final = (0.1, 0.3, 0.5, 0.7, 0.9)
METHODS: Final[dict[str, Callable[[float], Rule]]] = {
    "l1_unstructured, global": lambda amount: rules.l1_unstructured(amount, scope="global"),
    "l1_unstructured, each matrix": rules.l1_unstructured,
    "... weights times inputs": lambda amount: rules.l1_unstructured(amount, importance_scores=True),
    "random_unstructured": rules.random_unstructured,
    "ln_structured, rows": lambda amount: rules.ln_structured(amount, n=2, dim=0),
    "feed-forward channels removed": lambda amount: rules.remove_units(amount, map="bert_ffn"),
    "the same at random": lambda amount: rules.remove_random(amount, map="bert_ffn"),
}

Scores: TypeAlias = dict[str, Tensor]
"""Importance of each entry, by the names of weights."""

Run: TypeAlias = Callable[[nn.Module], object]
"""One batch through a model."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A model as it was and with channels removed, and a batch for both."""

    name: str
    dense: nn.Module
    removed: nn.Module
    run: Run


def lenet(client: Client, name: str, round_to: int) -> Pair:
    """LeNet, half of the channels of every layer; what is kept is rounded up."""
    torch.manual_seed(0)
    dense, images = LeNet(), torch.randn(IMAGES, 1, SIDE, SIDE)
    removed = after(client, dense, rules.remove_units(0.5, groups=coupled_channels(), round_to=round_to))
    return Pair(name, dense, removed, lambda model: model(images))


def encoder(client: Client) -> Pair:
    """MiniLM, half of the feed-forward channels."""
    dense = loaded_minilm()
    removed = after(client, dense, rules.remove_units(0.5, map="bert_ffn"))
    tokens = torch.randint(1000, 20000, BATCH)
    return Pair("MiniLM, half of its FFN", dense, removed, lambda model: model(input_ids=tokens))


def after(client: Client, model: nn.Module, rule: Rule, scores: Scores | None = None) -> nn.Module:
    """Return a copy of the model, pruned; smaller if the rule is about units. `scores`: for rules that ask for them."""
    given = scores if "importance_scores" in rule.to_dict() else None
    output: Literal["removed", "pruned"] = "removed" if rule.method == "remove_units" else "pruned"
    pruned = copy.deepcopy(model)
    load_pruned(pruned, client.prune(model.state_dict(), rule, output=output, seed=1, importance_scores=given))
    return pruned


def loaded_minilm() -> nn.Module:
    """Return MiniLM as transformers loads it."""
    model: nn.Module = transformers.AutoModel.from_pretrained(minilm().parent)
    return model.eval()


@torch.no_grad()
def sizes_and_times(client: Client, rounds: int) -> Iterator[str]:
    """The lines of the first table."""
    yield "| model | parameters | bytes | GFLOP | ms a batch | FLOP ratio | time ratio | time / FLOP | goal |"
    yield "| --- | --: | --: | --: | --: | --: | --: | --: | --- |"
    plain, rounded = "LeNet, half of all channels", "LeNet, the same, round_to=8"
    for pair in (lenet(client, plain, 1), lenet(client, rounded, 8), encoder(client)):
        dense, removed = pair.dense.eval(), pair.removed.eval()
        before, now = milliseconds(pair, rounds)
        flops = [operations(model, pair.run) for model in (dense, removed)]
        flop_ratio, time_ratio = flops[1] / flops[0], now / before
        yield cells(
            pair.name,
            f"{parameters(dense):,} to {parameters(removed):,}",
            f"{tensor_bytes(dense):,} to {tensor_bytes(removed):,}",
            f"{flops[0] / 1e9:.3g} to {flops[1] / 1e9:.3g}",
            f"{before:.1f} to {now:.1f}",
            f"{flop_ratio:.3f}",
            f"{time_ratio:.3f}",
            f"{time_ratio / flop_ratio:.2f}",
            "reached" if time_ratio <= GOAL * flop_ratio else "MISSED",
        )


def milliseconds(pair: Pair, rounds: int) -> tuple[float, float]:
    """Return the median time of a batch, dense and removed, by turns."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(WARM_UP + rounds):
        for model, measured in zip((pair.dense, pair.removed), seconds, strict=True):
            begin = time.perf_counter()
            pair.run(model)
            if turn >= WARM_UP:
                measured.append(time.perf_counter() - begin)
    before, now = (1e3 * statistics.median(measured) for measured in seconds)
    return before, now


def operations(model: nn.Module, run: Run) -> int:
    """Count the floating-point operations of one batch: those of matrices and convolutions."""
    with FlopCounterMode(display=False) as counter:
        run(model)
    total: int = counter.get_total_flops()
    return total


def tensor_bytes(model: nn.Module) -> int:
    """Return the bytes of a model's tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())


@torch.no_grad()
def similarities(client: Client) -> Iterator[str]:
    """The lines of the second table: mean cosine of the embeddings before and after, and the least in brackets."""
    model, embed = loaded_minilm(), partial(embeddings, tokenized(SENTENCES))
    before, scores = embed(model), input_scores(model, tokenized(CALIBRATION))
    yield cells("method", *(f"{sparsity:.0%}" for sparsity in SPARSITIES))
    yield cells("---", *("--:" for _ in SPARSITIES))
    for name, rule in METHODS.items():
        measured = []
        for sparsity in SPARSITIES:
            similarity = torch.cosine_similarity(before, embed(after(client, model, rule(sparsity), scores)))
            measured.append(f"{similarity.mean():.3f} ({similarity.min():.3f})")
        yield cells(name, *measured)


def removal_times(rounds: int) -> Iterator[str]:
    """The lines of the third table: the least processor time of several runs."""
    with tempfile.TemporaryDirectory() as folder:
        statistics = Path(folder) / "statistics.safetensors"
        model = loaded_minilm()
        collect_statistics(model, [tokenized(CALIBRATION)], kind="gram", include="*.output.dense.weight").save(
            statistics
        )
        without = processor_seconds(Path(folder) / "out", rounds)
        yield "| MiniLM, half of its FFN | processor s | against without refit | must | goal |"
        yield "| --- | --: | --: | --: | --: |"
        yield cells("norm of weights, no refit", f"{without:.2f}", "1.00", "", "")
        for score in ("activation_norm", "obs"):
            words = ("--score", score, "--update", "refit", "--statistics", str(statistics))
            seconds = processor_seconds(Path(folder) / "out", rounds, *words)
            yield cells(f"{score}, refit", f"{seconds:.2f}", f"{seconds / without:.2f}", "2.00", "1.30")


def processor_seconds(out: Path, rounds: int, *words: str) -> float:
    """Return the least user and system time of `prune run` on one thread of BLAS, its start included."""
    command = [sys.executable, "-m", "pruning_client", "run", str(minilm()), "-o", str(out), "--force", "--quiet"]
    command += ["--output", "removed", "--map", "bert_ffn", "--amount", "0.5", *words]
    found = []
    for _ in range(rounds):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"})
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


def input_scores(model: nn.Module, tokens: Any) -> Scores:
    """Return each weight's magnitude times the norm of what it is multiplied with, over the tokens.

    Source: Sun et al. 2023 (Wanda), arXiv:2306.11695, eq. 1; ranked by matrix here, not by row.
    """
    norms: dict[str, Tensor] = {}

    def keep(name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        norms[name] = inputs[0].flatten(0, -2).norm(dim=0)

    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear)}
    handles = [layer.register_forward_pre_hook(partial(keep, name)) for name, layer in layers.items()]
    model(**tokens)
    for handle in handles:
        handle.remove()
    return {f"{name}.weight": layer.weight.abs() * norms[name] for name, layer in layers.items()}


def tokenized(sentences: Sequence[str]) -> Any:
    """Return sentences as MiniLM reads them."""
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(minilm().parent)
    return tokenizer(list(sentences), padding=True, return_tensors="pt")


def embeddings(tokens: Any, model: nn.Module) -> Tensor:
    """Return each sentence's embedding: the mean over its tokens, as this model was trained."""
    hidden: Tensor = model(**tokens).last_hidden_state
    there = tokens["attention_mask"].unsqueeze(-1)
    mean: Tensor = (hidden * there).sum(1) / there.sum(1)
    return mean


def cells(*values: str) -> str:
    """Return one line of a table."""
    return f"| {' | '.join(values)} |"


def main() -> None:
    """Print the tables, line by line as they are measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50, help="batches of each side")
    arguments = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers'
    with running_server() as server, Client(server.address) as client:
        tables = (sizes_and_times(client, arguments.rounds), similarities(client), removal_times(REMOVALS))
        for table in tables:
            for line in table:
                sys.stdout.write(line + "\n")
                sys.stdout.flush()
            sys.stdout.write("\n")


if __name__ == "__main__":
    main()
