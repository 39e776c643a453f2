"""What may go wrong, as a caller may catch it. Twins of the engine's errors, and of what only a network adds.

    PruningError              whatever may go wrong in a call
    ├─ RecipeError            the request makes no sense
    ├─ CheckpointError        the bytes are no sound checkpoint
    ├─ MismatchError          recipe and checkpoint are sound, but do not fit each other
    ├─ CapacityError          too large for the server, or no room now
    ├─ ProtocolError          the other side broke the contract of the stream, or does not speak it
    ├─ UnavailableError       no server answers, or the connection broke
    ├─ DeadlineError          the call took longer than its timeout
    ├─ AuthenticationError    the server does not let this caller in
    └─ InternalError          the server's own fault

Which of them a server's answer becomes is decided by its reason, in `failures`; what a file system does wrong stays
an OSError.
"""

from pruning_client.errors.tree import (
    BY_FAMILY,
    AuthenticationError,
    CapacityError,
    CheckpointError,
    DeadlineError,
    InternalError,
    MismatchError,
    ProtocolError,
    PruningError,
    RecipeError,
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
    "MismatchError",
    "ProtocolError",
    "PruningError",
    "RecipeError",
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
