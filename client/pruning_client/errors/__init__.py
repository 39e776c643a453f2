"""The errors of this library, as a caller may catch them.

    PruningError              any error of a call
    ├─ RecipeError            the request is invalid
    ├─ CheckpointError        the bytes are not a valid checkpoint
    ├─ MismatchError          recipe and checkpoint are valid, but do not fit together
    ├─ CapacityError          too large for the server, or no memory free now
    ├─ ProtocolError          the other side broke the order of the stream, or does not speak this contract
    ├─ UnavailableError       no server answers, or the connection broke
    ├─ DeadlineError          the call took longer than its timeout
    ├─ AuthenticationError    the server does not accept this caller
    ├─ StorageError           a store does not allow, hold or take what it should
    ├─ JobError               a job cannot be begun, found or deleted, or ended without a result
    └─ InternalError          a fault of the server

The reason in a server's answer decides which of them is raised, see `from_server`. Errors of the file system stay
OSError.
"""

from pruning_client.errors.tree import (
    BY_FAMILY,
    AuthenticationError,
    CapacityError,
    CheckpointError,
    DeadlineError,
    InternalError,
    JobError,
    MismatchError,
    ProtocolError,
    PruningError,
    RecipeError,
    StorageError,
    UnavailableError,
    Violation,
    closed_error,
    in_rule,
    is_text,
    layout_error,
    recipe_error,
    tensor_error,
    unchangeable_error,
)

__all__ = [
    "BY_FAMILY",
    "AuthenticationError",
    "CapacityError",
    "CheckpointError",
    "DeadlineError",
    "InternalError",
    "JobError",
    "MismatchError",
    "ProtocolError",
    "PruningError",
    "RecipeError",
    "StorageError",
    "UnavailableError",
    "Violation",
    "closed_error",
    "in_rule",
    "is_text",
    "layout_error",
    "recipe_error",
    "tensor_error",
    "unchangeable_error",
]
