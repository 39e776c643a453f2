"""The options of `prune run` for methods that use statistics, and for updates of the remaining weights."""

import argparse
from typing import Final

from pruning_client.cli.arguments import part

CALIBRATION_FLAGS: Final = {
    "exponent": "--exponent",
    "input_dim": "--input-dim",
    "swaps": "--swaps",
    "update": "--update",
    "allocation": "--allocation",
    "min_sparsity": "--min-sparsity",
    "max_sparsity": "--max-sparsity",
}
"""The options, by the names of the builders' arguments."""

_UPDATES: Final = ("none", "bias_compensation", "refit", "sparsegpt")
_ALLOCATIONS: Final = ("erk", "owl", "least_predicted_error")


def add_calibration_options(calibrated: argparse._ArgumentGroup) -> None:
    """Declare the options."""
    calibrated.add_argument(
        "--update",
        choices=_UPDATES,
        metavar="UPDATE",
        help=f"{', '.join(_UPDATES)}: change the remaining weights so that the outputs of their layers change less; "
        "default: none, but sparsegpt for --method sparsegpt, and refit for --method alps",
    )
    calibrated.add_argument(
        "--swaps", action="store_const", const=True, help="improve the mask by swaps, without changing any weight"
    )
    calibrated.add_argument(
        "--allocation",
        choices=_ALLOCATIONS,
        metavar="HOW",
        help=f"{', '.join(_ALLOCATIONS)}: divide the amount among the tensors; default: the same for each",
    )
    for bound, word in (("min", "least"), ("max", "most")):
        calibrated.add_argument(
            f"--{bound}-sparsity",
            type=part,
            metavar="S",
            help=f"the {word} that may be pruned of each tensor; with --global or --allocation",
        )
    calibrated.add_argument(
        "--input-dim",
        type=int,
        metavar="D",
        help="the dim of the input channels of all selected tensors; default: as the statistics or config.json say",
    )
    calibrated.add_argument("--exponent", type=float, metavar="A", help="ria: of the norms; default: 0.5")
