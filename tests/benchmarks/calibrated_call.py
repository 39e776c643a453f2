"""A whole call with statistics against the same by magnitude, on MiniLM. `python -m tests.benchmarks.calibrated_call`

`Client.prune` of the state dict, half of all layers' weights, on a server that runs; both sides take turns, and the
medians count. The call with norms has a plan before it, and each channel's norm beside its weight.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

from pruning_client import Client, rules
from pruning_client.torch import collect_statistics
from tests.benchmarks.quality.subjects import minilm
from tests.servers import running_server

MUST, GOAL = 1.5, 1.15
"""The most times as long."""


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def main() -> None:
    """Print one line of a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="calls of each side")
    rounds = parser.parse_args().rounds
    subject = minilm()
    weights, norms = subject.model.state_dict(), collect_statistics(subject.model, subject.batches)
    by_norms, by_magnitude = (rule(0.5, include=subject.matrices) for rule in (rules.wanda, rules.l1_unstructured))
    with running_server() as server, Client(server.address) as client:
        sides: list[Callable[[], object]] = [
            lambda: client.prune(weights, by_magnitude),
            lambda: client.prune(weights, by_norms, statistics=norms),
        ]
        times = [[seconds(side) for side in sides] for _ in range(rounds + 1)][1:]  # the first call connects
    magnitude, wanda = (statistics.median(side) for side in zip(*times, strict=True))
    sys.stdout.write("| work | by magnitude, ms | with norms, ms | ratio | must | goal |\n")
    sys.stdout.write("| --- | --: | --: | --: | --: | --: |\n")
    line = f"| whole call with norms, MiniLM | {magnitude * 1e3:.0f} | {wanda * 1e3:.0f} | {wanda / magnitude:.2f} "
    sys.stdout.write(f"{line}| {MUST} | {GOAL} |\n")


if __name__ == "__main__":
    main()
