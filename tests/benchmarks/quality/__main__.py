"""How well pruned models still work, against what others reach. `python -m tests.benchmarks.quality [ROW ...]`

On the real MiniLM (mean cosine of the embeddings of held-out sentences) and on a small LLaMA that is trained on the
first run (perplexity of held-out text). Both sides prune the same weights by the same statistics, which are collected
once, on the dense model; nothing is trained after pruning. SparseGPT and Wanda are those of `peers.py`, and
`python -m tests.benchmarks.quality.llm_compressor` holds them against llm-compressor.
"""

import argparse
import sys
from collections.abc import Iterator

import transformers

from pruning_client import Client
from tests.benchmarks.quality.measuring import Bench
from tests.benchmarks.quality.rows import ROWS, Row
from tests.benchmarks.quality.subjects import minilm, small_decoder
from tests.servers import running_server

_SUBJECTS = {"minilm": minilm, "decoder": small_decoder}


def main() -> None:
    """Print each model's table of methods, then its targets, as they are measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [row.name for row in ROWS]
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"default: all of {', '.join(names)}")
    wanted = parser.parse_args().rows or names
    if unknown := set(wanted) - set(names):
        parser.error(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers'
    rows = [row for row in ROWS if row.name in wanted]
    with running_server() as server, Client(server.address) as client:
        for line in _lines(client, rows):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


def _lines(client: Client, rows: list[Row]) -> Iterator[str]:
    for model, subject in _SUBJECTS.items():
        of_model = [row for row in rows if row.model == model]
        if of_model:
            yield from Bench.of(client, subject()).lines(of_model)


if __name__ == "__main__":
    main()
