"""The catalogue of methods: what the server offers, the client builds and the command line takes options for.

The methods of `torch.nn.utils.prune`, and what torch does not have: calibrated methods, N:M sparsity and the removal
of coupled channels. torch's `global_unstructured` is any of the unstructured ones in global scope.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

_SELECT: Final = ("select", "prior")
_RANKED: Final = ("amount", "scope")
_UNSTRUCTURED: Final = (*_RANKED, *_SELECT)
_STRUCTURED: Final = (*_UNSTRUCTURED, "granularity.channels.dim")
_UNITS: Final = tuple(
    f"granularity.units.{field}"
    for field in (
        "groups",
        "map",
        "head_dim",
        "round_to",
        "same_width",
        "least_kept",
        "balanced_blocks",
        "own_widths",
        "always_kept",
    )
)
_NORM: Final = "score.magnitude.norm"
_SCORES: Final = "score.importance_scores"
_UPDATED: Final = ("input_dim", "swaps", "update")
_BOUNDS: Final = ("bounds.min_sparsity", "bounds.max_sparsity")
_N_OF_M: Final = "granularity.n_of_m"
_CALIBRATED: Final = ("amount", _N_OF_M, "scope", *_SELECT, *_UPDATED, "allocation", *_BOUNDS)

ARGUMENTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "amount": "amount",
        "scope": "scope",
        "granularity.channels.dim": "dim",
        "granularity.blocks": "block",
        "granularity.n_of_m": "n_of_m",
        "granularity.n_of_m.dim": "dim",
        "granularity.n_of_m.allow_dense": "allow_dense",
        "granularity.n_of_m.n": "n",
        "granularity.n_of_m.m": "m",
        "granularity.units.map": "map",
        "granularity.units.head_dim": "head_dim",
        "granularity.units.round_to": "round_to",
        "granularity.units.same_width": "same_width",
        "granularity.units.own_widths": "own_widths",
        "score.magnitude.norm": "n",
        "score.importance_scores": "importance_scores",
        "score.ria.exponent": "exponent",
        "score": "score",
        "input_dim": "input_dim",
        "swaps": "swaps",
        "update": "update",
        "allocation": "allocation",
        "bounds.min_sparsity": "min_sparsity",
        "bounds.max_sparsity": "max_sparsity",
    }
)
"""The name that builders and the command line have for a field of a Rule; fields that every rule has are left out."""


@dataclass(frozen=True, slots=True)
class Method:
    """One method: its name, one sentence, and the fields of a Rule that it takes, as paths."""

    name: str
    description: str
    parameters: tuple[str, ...]

    @property
    def arguments(self) -> tuple[str, ...]:
        """What its builder and the command line take, beyond what every rule has."""
        return tuple(ARGUMENTS[path] for path in self.parameters if path in ARGUMENTS)


METHODS: Final = (
    Method("identity", "Prunes nothing, but gives the tensor a mask.", _SELECT),
    Method("random_unstructured", "Prunes random entries.", _UNSTRUCTURED),
    Method(
        "l1_unstructured",
        "Prunes the entries of least magnitude, or of least importance score.",
        (*_UNSTRUCTURED, _SCORES, "granularity.blocks", *_UPDATED, "allocation", *_BOUNDS),
    ),
    Method("random_structured", "Prunes random channels along a dim.", _STRUCTURED),
    Method("ln_structured", "Prunes the channels of least norm along a dim.", (*_STRUCTURED, _NORM, _SCORES)),
    Method(
        "wanda",
        "Prunes, in each output channel, the entries of least magnitude times the norm of their input channel.",
        _CALIBRATED,
    ),
    Method(
        "ria",
        "Prunes, in each output channel, the entries of least relative importance times a power of their input's norm.",
        (*_CALIBRATED, "score.ria.exponent"),
    ),
    Method(
        "sparsegpt",
        "Prunes column by column what costs least while the later columns compensate; updates the remaining weights.",
        _CALIBRATED,
    ),
    Method(
        "alps",
        "Finds mask and weights together, alternating between all weights and those that a mask leaves; then refits.",
        _CALIBRATED,
    ),
    Method(
        "lamp",
        "Prunes the entries of least LAMP score, of all tensors together, so that each layer gets its own sparsity.",
        ("amount", *_SELECT, *_UPDATED, *_BOUNDS),
    ),
    Method(
        "n_of_m",
        "Keeps the n most important of each m consecutive entries along one dim, such as 2 of 4.",
        (
            *(*_SELECT, "granularity.n_of_m.n", "granularity.n_of_m.m", "granularity.n_of_m.dim"),
            *("granularity.n_of_m.allow_dense", "score", *_UPDATED),
        ),
    ),
    Method("custom_from_mask", "Prunes what the mask sent beside the tensor marks 0.", _SELECT),
    Method(
        "remove_units",
        "Prunes coupled channels, in all tensors of their group; output format REMOVED takes them out.",
        (*_RANKED, "prior", *_UNITS, _NORM, _SCORES, "score", "update"),
    ),
    Method("remove_random", "Prunes random coupled channels, as remove_units does.", (*_RANKED, "prior", *_UNITS)),
    Method(
        "remove_dead",
        "Prunes coupled channels of which every entry, running statistics aside, is zero or pruned.",
        ("prior", *_UNITS),
    ),
)
"""In the order in which they are listed."""
