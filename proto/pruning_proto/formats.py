"""Output formats: one row per format says what a result in it is. Imports neither protobuf nor gRPC.

What a format can do is decided here and nowhere else: client, service and engine look it up. `number` is the value of
`OutputForm` in the contract; a test compares the two.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFormat:
    """One output format.

    Attributes:
        name: as callers write it.
        number: of the wire's `OutputForm`.
        computed_as: the name of the format that the engine produces for it; what is left is done to its bytes.
        takes_weights: whether the call sends weights, and not only the header.
        has_file: whether the result has a safetensors file, and not only a report or a plan.
        header_is_late: whether the file's header is known only after everything has been pruned.
        carries_weights: whether the file has the weights, also of tensors that no rule selects. A method that changes
            weights needs a format that carries them.
        folds_pairs: whether `w_orig` and `w_mask` come back as one `w`, also where no rule selects them.
        is_packed: whether the file is a packed one; `canonical_zero` is for these only.
        needs_units: whether a recipe must have a rule whose granularity is units.
        is_loadable: whether the model's own class loads the file: names and dtypes are as they came.
        prunes: whether weights are pruned, and not only looked at.
    """

    name: str
    number: int
    computed_as: str
    takes_weights: bool = True
    has_file: bool = True
    header_is_late: bool = False
    carries_weights: bool = True
    folds_pairs: bool = False
    is_packed: bool = False
    needs_units: bool = False
    is_loadable: bool = False
    prunes: bool = True


PRUNED: Final = OutputFormat(name="pruned", number=1, computed_as="pruned", folds_pairs=True, is_loadable=True)
"""Zeros in place."""

MASKED: Final = OutputFormat(name="masked", number=2, computed_as="masked")
"""`w_orig` and `w_mask`, as torch's pruning leaves them in a state dict."""

MASK: Final = OutputFormat(name="mask", number=3, computed_as="mask", carries_weights=False)
"""Masks only, one bit per entry, as `w:mask_bits`."""

REPORT: Final = OutputFormat(name="report", number=4, computed_as="report", has_file=False, carries_weights=False)
"""No tensors: everything is computed, and only the report comes back."""

PLAN: Final = OutputFormat(
    name="plan", number=5, computed_as="pruned", takes_weights=False, has_file=False, carries_weights=False
)
"""What would be done, from names, dtypes and shapes alone."""

PACKED: Final = OutputFormat(
    name="packed", number=6, computed_as="pruned", header_is_late=True, folds_pairs=True, is_packed=True
)
"""Unpruned values and one bit per entry, see docs/packed.md."""

REMOVED: Final = OutputFormat(
    name="removed",
    number=7,
    computed_as="removed",
    header_is_late=True,
    folds_pairs=True,
    needs_units=True,
    is_loadable=True,
)
"""Smaller tensors, without the channels that were pruned."""

SCAN: Final = OutputFormat(
    name="scan", number=8, computed_as="scan", has_file=False, carries_weights=False, prunes=False
)
"""Predicted errors over sparsity; nothing is pruned."""

FORMATS: Final = (PRUNED, MASKED, MASK, REPORT, PLAN, PACKED, REMOVED, SCAN)
"""Every format, in the order of the contract."""

BY_NAME: Final[Mapping[str, OutputFormat]] = MappingProxyType({row.name: row for row in FORMATS})

BY_NUMBER: Final[Mapping[int, OutputFormat]] = MappingProxyType({0: PRUNED, **{row.number: row for row in FORMATS}})
"""By the wire's number; 0, unspecified, is PRUNED."""
