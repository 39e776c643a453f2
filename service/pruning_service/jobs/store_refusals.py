"""Failures of stores as refusals: what a caller sees of them."""

from types import MappingProxyType
from typing import Final

from pruning_proto.reasons import Reason
from pruning_service.status import Refusal
from pruning_service.stores.errors import (
    AccessDeniedError,
    NotAllowedError,
    ObjectChangedError,
    ObjectMissingError,
    StoreError,
)

RETRY_SECONDS: Final = 2.0

_REASONS: Final = MappingProxyType(
    {
        NotAllowedError: Reason.STORE_NOT_ALLOWED,
        AccessDeniedError: Reason.STORE_ACCESS_DENIED,
        ObjectMissingError: Reason.SOURCE_NOT_FOUND,
        ObjectChangedError: Reason.SOURCE_CHANGED,
    }
)


def store_refusal(error: StoreError) -> Refusal:
    """Return the refusal that an error of a store amounts to."""
    reason = _REASONS.get(type(error), Reason.STORE_UNAVAILABLE)
    return Refusal(
        reason=reason,
        message=f"{error.filename}: {error.strerror}",
        metadata={"uri": str(error.filename)},
        retry_seconds=RETRY_SECONDS if reason is Reason.STORE_UNAVAILABLE else None,
    )
