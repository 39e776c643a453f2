"""`--statistics`, and `--method auto`, which depends on it."""

import argparse
from argparse import Namespace
from pathlib import Path
from typing import Final

from pruning_client.checkpoints.opened import open_source
from pruning_client.rules.automatic import AutomaticChoice, automatic_choice, suffixes_of
from pruning_client.statistics.statistics import Statistics
from pruning_proto.names import AUXILIARY

AUTO: Final = "auto"
"""The method that is chosen by the statistics."""

_GGUF: Final = ".gguf"


def add_statistics(group: argparse._ActionsContainer) -> None:
    """Add --statistics."""
    group.add_argument(
        "--statistics",
        type=Path,
        metavar="FILE",
        help="sums over the inputs of the layers: a file that pruning_client.torch.collect_statistics saved, or an "
        "imatrix of llama.cpp in GGUF",
    )


def statistics_of(options: Namespace) -> Statistics | None:
    """Return the statistics that the options name. Raises: OSError, CheckpointError, ImportError."""
    path: Path | None = options.statistics
    if path is None:
        return None
    return Statistics.from_imatrix(path) if path.suffix == _GGUF else Statistics.load(path)


def choose_method(options: Namespace, weights: Path, statistics: Statistics | None) -> AutomaticChoice | None:
    """Put the method that `--method auto` stands for, and its arguments, into the options; None: another is given."""
    if options.method != AUTO:
        return None
    names = (entry.name for entry in open_source(weights).layout.tensors)
    beside = {suffix for name in names for suffix in AUXILIARY if name.endswith(suffix)}
    choice = automatic_choice(suffixes_of(statistics) | beside, is_pattern=options.n_of_m is not None)
    options.method = choice.method
    for name, value in choice.arguments.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return choice
