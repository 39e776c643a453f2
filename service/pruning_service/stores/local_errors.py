"""The system's errors about files as errors of stores."""

from collections.abc import Iterator
from contextlib import contextmanager

from pruning_service.stores.errors import AccessDeniedError, ObjectChangedError, ObjectMissingError, StoreError
from pruning_service.stores.uris import StoreUri


@contextmanager
def translated(uri: StoreUri, *, is_pinned: bool = False) -> Iterator[None]:
    """Raise the system's errors, inside, as a StoreError of the object."""
    try:
        yield
    except StoreError:
        raise
    except FileNotFoundError as error:
        if is_pinned:
            raise changed(uri) from error
        raise ObjectMissingError(uri, "there is no such file") from error
    except PermissionError as error:
        raise AccessDeniedError(uri, str(error.strerror)) from error
    except OSError as error:
        failed = StoreError(uri, str(error.strerror))
        failed.errno = error.errno
        raise failed from error


def changed(uri: StoreUri) -> ObjectChangedError:
    """Return the error of a file that is not the one that was found."""
    return ObjectChangedError(uri, "was changed or deleted while it was read; try again when nothing writes it")
