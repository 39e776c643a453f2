"""What the service says of a recipe and of a request, in the words of the command line.

The service speaks to programs: they send auxiliary tensors, set fields and ask for output formats. Whoever types a
command has options for these. Each row is a wording of the service and what it becomes.
"""

import re
from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from pruning_client.cli.calibration_options import CALIBRATION_FLAGS

Reworded: TypeAlias = str | Callable[[re.Match[str], Namespace], str]
Rows: TypeAlias = tuple[tuple[re.Pattern[str], Reworded], ...]

_OUTPUTS: Final = "PRUNED|MASKED|MASK|PACKED|REMOVED|REPORT|PLAN"
_WITHOUT_RESULT: Final[Mapping[str, str]] = {"REPORT": "--dry-run", "PLAN": "--plan"}

_NAMES: Final[Mapping[str, str]] = {
    "allow_dense": "--allow-dense",
    "own_widths": "--own-widths",
    "same_width": "--same-width",
    "round_to": "--round-to",
    **{name: flag for name, flag in CALIBRATION_FLAGS.items() if "_" in name},
}
"""Fields that texts have by their names, and their options."""


def in_option_words(text: str, options: Namespace) -> str:
    """Return a text of the service with options in the place of what they stand for; a recipe file's rules stay."""
    for pattern, reworded in _OF_REQUESTS if options.recipe is not None else (*_OF_RULES, *_OF_REQUESTS):
        text = pattern.sub(_replacement(reworded, options), text)
    return text


def _replacement(reworded: Reworded, options: Namespace) -> str | Callable[[re.Match[str]], str]:
    return reworded if isinstance(reworded, str) else lambda found: reworded(found, options)


def _statistics(found: re.Match[str], options: Namespace) -> str:
    given = getattr(options, "statistics", None)
    where = "the file does not have" if given is None else f"neither the file nor --statistics {given} has"
    return f"that {where}: give --statistics with {found[1]}, or {_without(options)}"


def _without(options: Namespace) -> str:
    """Return how to do without the statistics of a tensor."""
    if options.recipe is not None:
        return "leave the tensor out of the rule"
    return "--exclude the tensor" if options.map is None else "choose another --score and --update"


def _output(found: re.Match[str], options: Namespace) -> str:  # noqa: ARG001 - one signature for all
    return _WITHOUT_RESULT.get(found[0], f"--output {found[0].lower()}")


def _name(found: re.Match[str], options: Namespace) -> str:  # noqa: ARG001
    return _NAMES[found[0]]


def _rows(*rows: tuple[str, Reworded]) -> Rows:
    return tuple((re.compile(pattern), reworded) for pattern, reworded in rows)


_OF_RULES: Final = _rows(
    (r"\(unless the rule has fall_back_to_weights\)", "(unless a --recipe has fall_back_to_weights)"),
    (
        r"set input_dim in the rule (\(.+?\)), or input_dims\[.+?\] in the request",
        r"give --input-dim \1, or a --recipe with a rule for each",
    ),
    (r"set n_of_m\.dim to (-?\d+)", r"give --dim \1"),
    (r"with prior `(zeros|mask|history)`", r"with --prior \1"),
    (r"use local scope, or own_widths", "leave out --global, or give --own-widths"),
    (
        r"in global scope tensors compete for the amount; leave it out, or use local scope",
        "with --global tensors compete for the amount; leave out one of the two",
    ),
    (
        r"set max_sparsity, rank each tensor on its own \(local scope\)",
        "give --max-sparsity, rank each tensor on its own (without --global)",
    ),
    (
        r"bounds are for global scope or with an allocation; leave them out",
        "it is for --global and --allocation; give one of these, or leave it out",
    ),
    (
        r"the nuclear norm is for granularity channels; units take p",
        "nuc is for ln_structured; coupled channels take a number",
    ),
    (r"swaps are for granularities entries and n_of_m; leave them out", "it is for single weights and --n-of-m"),
    (
        r"what a rule of granularity `units` prunes, and the recipe has no such rule; add one, or",
        "coupled channels, and no option prunes these; give --map, or",
    ),
    (
        rf"(?<![\w.'\"`-])(?:{'|'.join(_NAMES)})(?![\w.'\"`])",
        _name,
    ),
)
"""What is said of rules, which a recipe file calls as the service does."""

_OF_REQUESTS: Final = _rows(
    (r"that the file does not have: send (.+), or leave the tensor out of the rule", _statistics),
    (r"has statistics: send (.+?) beside the tensor", r"has statistics: give --statistics with \1 of the tensor"),
    (
        r"and rank by obs or activation_norm, with update refit",
        "and give them as --statistics: they are ranked by obs or activation_norm then; and --update refit",
    ),
    (r"ask for REMOVED, or for REPORT", "give --output removed, or --dry-run"),
    (r"ask for one of (?=pruned|mask|packed|removed)", "give one of "),
    (rf"(?:\bask for )?(?:\boutput )?\bformat (?=(?:{_OUTPUTS})\b)", ""),
    (r"\bformat (pruned|masked|mask|packed|removed)\b", r"--output \1"),
    (rf"(?<![\w.'\"/-])(?:{_OUTPUTS})(?![\w.'\"/-])", _output),
    (r"\brecipe\.seed\b", "--seed"),
    (r"^output: (?=--output)", ""),
    (r"^output: ", "--output: "),
)
"""What is said of what comes beside the rules."""
