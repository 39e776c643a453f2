"""What goes wrong with a store: each is an OSError with the object's URI as its file name.

StoreError                 any failure of a store
├─ ObjectMissingError      there is no such object
├─ ExistsError             it was to be created, and is there already
├─ ReplacedError           it was to be replaced as it was, and is another one by now
├─ ObjectChangedError      it changed while it was read
├─ NotAllowedError         the settings of this server do not allow to open it
├─ AccessDeniedError       the store does not admit this process, or its path leaves the folder that may be opened
└─ StoreUnavailableError   the store does not answer, or not completely, also when asked again
"""

import errno
from typing import ClassVar


class StoreError(OSError):
    """A store failed; the file name is the URI of the object."""

    number: ClassVar[int] = errno.EIO

    def __init__(self, uri: object, description: str) -> None:
        super().__init__(self.number, description, str(uri))

    def __reduce__(self) -> tuple[type["StoreError"], tuple[str, str]]:
        return type(self), (str(self.filename), str(self.strerror))  # OSError's own has other arguments


class ObjectMissingError(StoreError):
    """There is no such object."""

    number = errno.ENOENT


class ExistsError(StoreError):
    """An object that was to be created is there already."""

    number = errno.EEXIST


class ReplacedError(StoreError):
    """An object that was to be replaced is not the one that was seen."""

    number = errno.ESTALE


class ObjectChangedError(StoreError):
    """An object changed, or was deleted, after it was first looked at."""

    number = errno.ESTALE


class NotAllowedError(StoreError):
    """The settings do not allow to open this place, or not for this caller."""

    number = errno.EACCES


class AccessDeniedError(StoreError):
    """The store does not allow this, or the path leaves what may be opened."""

    number = errno.EACCES


class StoreUnavailableError(StoreError):
    """The store does not answer, or not completely."""
