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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from pruning_proto.reasons import TABLE, Family, Reason
from pruning_proto.safetensors.header import LayoutError

if TYPE_CHECKING:
    from grpc import StatusCode

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Violation:
    """One field or tensor that was wrong: its path, and what is allowed."""

    field: str
    description: str


class PruningError(Exception):
    """Whatever may go wrong in a call.

    Attributes:
        reason: why, in one word that programs may compare; None where the server gave none.
        code: the gRPC status of the call; None for what was found before it was sent.
        metadata: the particulars by name, such as `tensor` or `field`.
        violations: each field or tensor that was wrong.
        retry_after: when to try the same again; None: that does not help.
        request_id: names the call in the server's log; None where no server of this project answered.
        attempts: how often the call was tried in all; above 1 the notes (`__notes__`) tell how the others ended.
    """

    def __init__(  # noqa: PLR0913 - one keyword for each attribute
        self,
        message: str,
        *,
        reason: str | None = None,
        code: "StatusCode | None" = None,
        metadata: Mapping[str, str] = _NOTHING,
        violations: Sequence[Violation] = (),
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.code = code
        self.metadata = dict(metadata)
        self.violations = tuple(violations)
        self.retry_after = retry_after
        self.attempts = 1

    def __str__(self) -> str:
        message = super().__str__()
        return message if self.attempts == 1 else f"{message} (tried {self.attempts} times)"

    @property
    def request_id(self) -> str | None:
        """Names the call in the server's log."""
        return self.metadata.get("request_id")


class RecipeError(PruningError):
    """The request makes no sense, whatever the checkpoint."""


class CheckpointError(PruningError):
    """The bytes are no sound checkpoint."""


class MismatchError(PruningError):
    """Recipe and checkpoint are sound, but do not fit each other."""


class CapacityError(PruningError):
    """The model is too large for the server, or there is no room now: `retry_after` tells which."""


class ProtocolError(PruningError):
    """The other side broke the contract of the stream, or does not speak it."""


class UnavailableError(PruningError):
    """No server answers, or the connection broke; nothing of the result counts."""


class DeadlineError(PruningError):
    """The call took longer than its timeout."""


class AuthenticationError(PruningError):
    """The server does not let this caller in."""


class InternalError(PruningError):
    """The server's own fault; its log has the cause under `request_id`."""


BY_FAMILY: Final[Mapping[Family, type[PruningError]]] = MappingProxyType(
    {
        Family.RECIPE: RecipeError,
        Family.CHECKPOINT: CheckpointError,
        Family.MISMATCH: MismatchError,
        Family.CAPACITY: CapacityError,
        Family.PROTOCOL: ProtocolError,
        Family.UNAVAILABLE: UnavailableError,
        Family.AUTHENTICATION: AuthenticationError,
        Family.INTERNAL: InternalError,
    }
)
"""The exception of each family of reasons."""


def in_rule(error: RecipeError, position: int) -> RecipeError:
    """Give the error of a rule by itself as that of a recipe's rule, under the server's path."""
    wrong = [Violation(f"recipe.rules[{position}].{each.field}", each.description) for each in error.violations]
    return RecipeError(
        f"recipe.rules[{position}].{error}",
        reason=error.reason,
        metadata={"field": wrong[0].field} if wrong else {},
        violations=wrong,
    )


def recipe_error(reason: Reason, field: str, wrong: str) -> RecipeError:
    """Give the error of a recipe's field that is refused before it is sent, in the words of the server."""
    return RecipeError(
        f"{field}: {wrong}", reason=reason, metadata={"field": field}, violations=[Violation(field, wrong)]
    )


def is_text(name: str) -> bool:
    """Whether a string is Unicode text: half a surrogate pair is not, and can be neither written nor sent."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def tensor_error(reason: Reason, name: str, wrong: str) -> PruningError:
    """Give the error of a tensor that is refused before it is sent."""
    return BY_FAMILY[TABLE[reason].family](
        f"tensor {name!r}: {wrong}",
        reason=reason,
        metadata={"tensor": name},
        violations=[Violation(f'tensors["{name}"]', wrong)],
    )


def unchangeable_error(name: str, wrong: str) -> MismatchError:
    """Give the error of a tensor that masks cannot be applied to."""
    return MismatchError(
        f"tensor {name!r} cannot be pruned in place: {wrong}",
        metadata={"tensor": name},
        violations=[Violation(f'tensors["{name}"]', wrong)],
    )


def closed_error(name: str) -> UnavailableError:
    """Give the error of a call whose client was closed meanwhile; not to be tried again."""
    return UnavailableError(f"the client of {name} was closed during the call")


def layout_error(error: LayoutError, where: str) -> PruningError:
    """Give the error of a header that is refused before it is sent; `where` names the file."""
    metadata = {} if error.tensor is None else {"tensor": error.tensor}
    return BY_FAMILY[TABLE[error.reason].family](f"{where}: {error}", reason=error.reason, metadata=metadata)
