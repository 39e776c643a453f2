"""Errors of this client as the refusals that a job ends with: the same reasons as in a call of Prune."""

from pruning_client.errors import PruningError, RecipeError, UnavailableError
from pruning_proto.reasons import Reason, StatusCode
from pruning_service.status import Refusal, Violation


def refusal_of_client(error: PruningError) -> Refusal:
    """Return the refusal that an error of the client, or of its local pipeline, amounts to."""
    return Refusal(
        reason=_reason(error),
        message=str(error),
        violations=tuple(Violation(violation.field, violation.description) for violation in error.violations),
        metadata={key: value for key, value in error.metadata.items() if key != "request_id"},
    )


def _reason(error: PruningError) -> Reason:
    """Return the reason of an error; many that the client finds by itself have none in the contract."""
    if error.reason is not None and error.reason in Reason.__members__:
        return Reason(error.reason)
    if isinstance(error, UnavailableError):
        return Reason.EXECUTOR_UNAVAILABLE  # the engine is in this process, so that it is the machines of the executor
    if error.status in (StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED):
        return Reason.NO_ROOM
    return Reason.INVALID_RECIPE if isinstance(error, RecipeError) else Reason.INVALID_JOB
