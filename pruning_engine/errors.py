"""What may go wrong, as a caller may catch it.

    PruningError           what a caller may catch
    ├─ RecipeError         the request makes no sense
    ├─ CheckpointError     the tensors are no sound checkpoint
    └─ MismatchError       recipe and checkpoint do not fit

Each says what was wrong, where and what is allowed, and carries the same as attributes.
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why, in one word that programs may compare. The wire's list of reasons contains these."""

    INVALID_RECIPE = "INVALID_RECIPE"
    INVALID_PATTERN = "INVALID_PATTERN"
    INVALID_NORM = "INVALID_NORM"
    AMOUNT_OUT_OF_RANGE = "AMOUNT_OUT_OF_RANGE"
    UNKNOWN_MAP = "UNKNOWN_MAP"

    INVALID_HEADER = "INVALID_HEADER"
    NAN_WEIGHTS = "NAN_WEIGHTS"
    NAN_SCORES = "NAN_SCORES"
    MASK_NOT_BINARY = "MASK_NOT_BINARY"
    INVALID_HISTORY = "INVALID_HISTORY"

    SELECTS_NOTHING = "SELECTS_NOTHING"
    UNPRUNABLE_DTYPE = "UNPRUNABLE_DTYPE"
    DIM_OUT_OF_RANGE = "DIM_OUT_OF_RANGE"
    NORM_NOT_DEFINED = "NORM_NOT_DEFINED"
    COUNT_TOO_LARGE = "COUNT_TOO_LARGE"
    SHAPE_MISMATCH = "SHAPE_MISMATCH"
    ORPHAN_COMPANION = "ORPHAN_COMPANION"
    UNUSED_COMPANION = "UNUSED_COMPANION"
    MISSING_COMPANION = "MISSING_COMPANION"
    AMBIGUOUS_PRIOR = "AMBIGUOUS_PRIOR"
    INVALID_ALIAS = "INVALID_ALIAS"
    NAME_COLLISION = "NAME_COLLISION"
    TIE_MISSING = "TIE_MISSING"
    TIE_MISFIT = "TIE_MISFIT"
    UNIT_IN_TWO_GROUPS = "UNIT_IN_TWO_GROUPS"


class PruningError(ValueError):
    """What a caller may catch.

    Attributes:
        reason: why, in one word.
        field: the path of the recipe's field at fault, such as "rules[0].amount.fraction", if one is.
        tensor: the name of the tensor at fault, if one is.
    """

    def __init__(self, reason: Reason, message: str, *, field: str | None = None, tensor: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field
        self.tensor = tensor


class RecipeError(PruningError):
    """The request makes no sense, whatever the checkpoint."""


class CheckpointError(PruningError):
    """The tensors are no sound checkpoint."""


class MismatchError(PruningError):
    """Recipe and checkpoint are sound, but do not fit each other."""
