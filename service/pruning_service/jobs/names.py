"""Names of jobs, and of the operations that callers know them by: `operations/PLACE/NAME`.

A job's name is its own in one place of `PRUNING_STORES`. PLACE is a digest of that place's URI, the same on every
server.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from pruning_proto.reasons import Reason
from pruning_service.status import Refusal
from pruning_service.stores.uris import StoreUri

COLLECTION: Final = "operations"

NAME_RULE: Final = "1 to 63 lower-case letters, digits and hyphens, a letter first and no hyphen last"

_NAME: Final = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")
_OPERATION: Final = re.compile(rf"(?:{COLLECTION}/(?:(?P<place>[0-9a-f]{{8}})/)?)?(?P<name>{_NAME.pattern})")
_SHOWN_CHARACTERS: Final = 100


@dataclass(frozen=True, slots=True)
class OperationName:
    """The name of an operation as a caller gives it; `place` is empty where only the job's name was given."""

    place: str
    name: str

    def __str__(self) -> str:
        return "/".join(part for part in (COLLECTION, self.place, self.name) if part)


def is_job_name(text: str) -> bool:
    """Whether a job may have this name."""
    return _NAME.fullmatch(text) is not None


def place_id(place: StoreUri) -> str:
    """Return the part of an operation's name that stands for a place."""
    return hashlib.sha256(str(place).encode()).hexdigest()[:8]


def operation_name(place: StoreUri, name: str) -> OperationName:
    """Return the full name of the operation of a job."""
    return OperationName(place_id(place), name)


def parse_operation_name(text: str) -> OperationName:
    """Return the name in `operations/PLACE/NAME`, `operations/NAME` or `NAME`. Raises: Refusal JOB_NOT_FOUND."""
    found = _OPERATION.fullmatch(text)
    if found is None:
        raise not_found(text)
    return OperationName(found["place"] or "", found["name"])


def not_found(text: str) -> Refusal:
    """Return the refusal of an operation that is not there, or not for this caller."""
    shown = text[:_SHOWN_CHARACTERS]
    return Refusal(
        reason=Reason.JOB_NOT_FOUND,
        message=f"there is no operation {shown!r}; a name is operations/PLACE/NAME, as ListOperations returns it",
        metadata={"name": shown},
    )
