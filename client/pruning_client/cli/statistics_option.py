"""`--statistics`, and `--method auto`, which depends on it."""

import argparse
from argparse import Namespace
from dataclasses import replace
from typing import Final

from pruning_client.checkpoints.opened import Checkpoint
from pruning_client.cli.places import Places, location
from pruning_client.rules.automatic import AutomaticChoice, automatic_choice, automatic_units, suffixes_of
from pruning_client.statistics.statistics import Statistics
from pruning_proto.names import AUXILIARY

AUTO: Final = "auto"
"""The method that is chosen by the statistics."""

_NUMBERED: Final = ("experts", "layers", "vocabulary")
"""Maps whose units are not channels that statistics of the inputs rank."""

_GGUF: Final = ".gguf"


def add_statistics(group: argparse._ActionsContainer) -> None:
    """Add --statistics."""
    group.add_argument(
        "--statistics",
        type=location,
        metavar="FILE",
        help="sums over the inputs of the layers: a file that pruning_client.torch.collect_statistics saved, or an "
        "imatrix of llama.cpp in GGUF",
    )


def statistics_of(options: Namespace, places: Places) -> Statistics | None:
    """Return the statistics that the options name. Raises: OSError, CheckpointError, ImportError."""
    if options.statistics is None:
        return None
    file = places.source(options.statistics)
    if file.path.suffix == _GGUF:
        return Statistics.from_imatrix(places.on_disk(file))
    return Statistics.load(file.path, files=file.files)


def choose_method(options: Namespace, weights: Checkpoint, statistics: Statistics | None) -> AutomaticChoice | None:
    """Put the method that `--method auto` stands for, and its arguments, into the options; None: another is given.

    Where coupled channels are ranked and no --score is given, the statistics choose it, also without `auto`.
    """
    is_auto, is_of_channels = options.method == AUTO, options.map is not None and options.map not in _NUMBERED
    if not is_auto and not (is_of_channels and _has_default_score(options)):
        return None
    names = (entry.name for entry in weights.open().layout.tensors)
    suffixes = suffixes_of(statistics) | {suffix for name in names for suffix in AUXILIARY if name.endswith(suffix)}
    if is_of_channels:
        choice = automatic_units(suffixes)
    else:
        choice = automatic_choice(suffixes, is_pattern=options.n_of_m is not None)
    if not is_auto:
        choice = replace(choice, arguments={name: choice.arguments[name] for name in {"score"} & {*choice.arguments}})
        if not choice.arguments:
            return None
    options.method = choice.method
    for name, value in choice.arguments.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return choice


def _has_default_score(options: Namespace) -> bool:
    """Whether options ask for a ranking of units without saying by what."""
    is_ranked = options.recipe is None and options.method in (None, "remove_units")
    return is_ranked and options.score is None and options.n is None and options.importance_scores is None
