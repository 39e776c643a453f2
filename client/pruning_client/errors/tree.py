"""The exceptions, drawn as a tree in `pruning_client.errors`, and constructors for those found on this side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from pruning_proto.reasons import TABLE, Family, Reason, StatusCode
from pruning_proto.safetensors.header import LayoutError

if TYPE_CHECKING:
    import grpc

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Violation:
    """One field or tensor that is wrong: its path, and what is allowed."""

    field: str
    description: str


class PruningError(Exception):
    """Any error of a call.

    Attributes:
        reason: why, as one word that programs may compare; None where the server gave none.
        status: the status of the call, as the contract has it; None for what was found before it was sent.
        metadata: details by name, such as `tensor` or `field`.
        violations: each field or tensor that was wrong.
        retry_after: when to try the same again; None: that does not help.
        attempts: how often the call was tried in all; above 1 the notes (`__notes__`) say how the others ended.
    Example:
        >>> try:
        ...     client.prune({"fc1.weight": weight}, rules.l1_unstructured(0.5, include="fc9.*"))
        ... except PruningError as error:
        ...     print(type(error).__name__, error.reason)
        MismatchError SELECTS_NOTHING
    """

    def __init__(  # noqa: PLR0913 - one keyword for each attribute
        self,
        message: str,
        *,
        reason: str | None = None,
        code: "StatusCode | grpc.StatusCode | None" = None,
        metadata: Mapping[str, str] = _NOTHING,
        violations: Sequence[Violation] = (),
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.status = None if code is None else StatusCode[code.name]
        self.metadata = dict(metadata)
        self.violations = tuple(violations)
        self.retry_after = retry_after
        self.attempts = 1

    def __str__(self) -> str:
        message = super().__str__()
        return message if self.attempts == 1 else f"{message} (tried {self.attempts} times)"

    @property
    def code(self) -> "grpc.StatusCode | None":
        """gRPC's status of the call; None for what was found before it was sent. Cost: imports `grpc`."""
        if self.status is None:
            return None
        import grpc  # noqa: PLC0415 - only those who ask need it

        return grpc.StatusCode[self.status.name]

    @property
    def request_id(self) -> str | None:
        """The name of the call in the server's log; None where no server of this project answered."""
        return self.metadata.get("request_id")


class RecipeError(PruningError):
    """The request is invalid, whatever the checkpoint."""


class CheckpointError(PruningError):
    """The bytes are not a valid checkpoint."""


class MismatchError(PruningError):
    """Recipe and checkpoint are valid, but do not fit together."""


class CapacityError(PruningError):
    """The model is too large for the server, or it has no memory free now: then `retry_after` is set."""


class ProtocolError(PruningError):
    """The other side broke the order of the stream, or does not speak this contract."""


class UnavailableError(PruningError):
    """No server answers, or the connection broke; there is no result."""


class DeadlineError(PruningError):
    """The call took longer than its timeout."""


class AuthenticationError(PruningError):
    """The server does not accept this caller."""


class StorageError(PruningError):
    """A store does not allow what was asked, does not answer, or holds something else than it should."""


class JobError(PruningError):
    """A job cannot be begun, found or deleted; or it ended without a result, for a reason of its own."""


class InternalError(PruningError):
    """A fault of the server; its log has the cause under `request_id`."""


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
        Family.STORAGE: StorageError,
        Family.JOB: JobError,
    }
)
"""The exception of each family of reasons."""


def in_rule(error: RecipeError, position: int) -> RecipeError:
    """Return the error of a single rule as that of a recipe's rule, under the server's path."""
    violations = [
        Violation(f"recipe.rules[{position}].{violation.field}", violation.description)
        for violation in error.violations
    ]
    return RecipeError(
        f"recipe.rules[{position}].{error}",
        reason=error.reason,
        metadata={"field": violations[0].field} if violations else {},
        violations=violations,
    )


def recipe_error(reason: Reason, field: str, description: str) -> RecipeError:
    """Return the error of a recipe's field that is refused before it is sent, in the words of the server."""
    return RecipeError(
        f"{field}: {description}", reason=reason, metadata={"field": field}, violations=[Violation(field, description)]
    )


def is_text(name: str) -> bool:
    """Whether a string is Unicode text: half a surrogate pair is not, and can be neither written nor sent."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def tensor_error(reason: Reason, name: str, description: str) -> PruningError:
    """Return the error of a tensor that is refused before it is sent."""
    return BY_FAMILY[TABLE[reason].family](
        f"tensor {name!r}: {description}",
        reason=reason,
        metadata={"tensor": name},
        violations=[Violation(f'tensors["{name}"]', description)],
    )


def unchangeable_error(name: str, description: str) -> MismatchError:
    """Return the error of a tensor that masks cannot be applied to."""
    return MismatchError(
        f"tensor {name!r} cannot be pruned in place: {description}",
        metadata={"tensor": name},
        violations=[Violation(f'tensors["{name}"]', description)],
    )


def closed_error(name: str) -> UnavailableError:
    """Return the error of a call whose client was closed meanwhile; it is not tried again."""
    return UnavailableError(f"the client of {name} was closed during the call")


def layout_error(error: LayoutError, where: str) -> PruningError:
    """Return the error of a header that is refused before it is sent; `where` names the file."""
    metadata = {} if error.tensor is None else {"tensor": error.tensor}
    return BY_FAMILY[TABLE[error.reason].family](f"{where}: {error}", reason=error.reason, metadata=metadata)
