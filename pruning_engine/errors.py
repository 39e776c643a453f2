"""The errors of the engine.

    PruningError           what a caller may catch
    ├─ RecipeError         the request is invalid
    ├─ CheckpointError     the tensors are not a valid checkpoint
    └─ MismatchError       recipe and checkpoint do not fit together

Each message says what is wrong, where, and what is allowed; attributes carry the same for programs.
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why, in one word that programs may compare. The wire's list of reasons contains all of these."""

    INVALID_RECIPE = "INVALID_RECIPE"
    INVALID_PATTERN = "INVALID_PATTERN"
    INVALID_NORM = "INVALID_NORM"
    AMOUNT_OUT_OF_RANGE = "AMOUNT_OUT_OF_RANGE"
    UNKNOWN_MAP = "UNKNOWN_MAP"

    INVALID_HEADER = "INVALID_HEADER"
    NAN_WEIGHTS = "NAN_WEIGHTS"
    NAN_SCORES = "NAN_SCORES"
    MASK_NOT_BINARY = "MASK_NOT_BINARY"
    INVALID_AUXILIARY = "INVALID_AUXILIARY"
    INVALID_HISTORY = "INVALID_HISTORY"

    SELECTS_NOTHING = "SELECTS_NOTHING"
    UNPRUNABLE_DTYPE = "UNPRUNABLE_DTYPE"
    DIM_OUT_OF_RANGE = "DIM_OUT_OF_RANGE"
    INPUT_DIM_UNKNOWN = "INPUT_DIM_UNKNOWN"
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
    UNIT_MISFIT = "UNIT_MISFIT"


class RequestPart(StrEnum):
    """Where the field at fault is."""

    RECIPE = "recipe"
    """In the recipe."""
    OPTIONS = "options"
    """Beside the recipe: the output format, the aliases."""


class PruningError(ValueError):
    """What a caller may catch.

    Attributes:
        reason: why, in one word.
        field: the path of the field at fault, such as "rules[0].amount.fraction", if there is one.
        part: where that field is.
        tensor: the name of the tensor at fault, if there is one.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        field: str | None = None,
        part: RequestPart = RequestPart.RECIPE,
        tensor: str | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field
        self.part = part
        self.tensor = tensor

    @property
    def path(self) -> str | None:
        """The path of the field at fault in a whole request: "recipe.rules[0]..." or "output"."""
        is_in_recipe = self.field is not None and self.part is RequestPart.RECIPE
        return f"recipe.{self.field}" if is_in_recipe else self.field


class RecipeError(PruningError):
    """The request is invalid, whatever the checkpoint."""


class CheckpointError(PruningError):
    """The tensors are not a valid checkpoint."""


class MismatchError(PruningError):
    """Recipe and checkpoint are valid, but do not fit together."""
