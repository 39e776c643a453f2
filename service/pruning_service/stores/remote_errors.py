"""The errors of obstore as errors of stores."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

from obstore import exceptions

from pruning_service.stores.errors import (
    AccessDeniedError,
    ExistsError,
    ObjectMissingError,
    ReplacedError,
    StoreError,
    StoreUnavailableError,
)
from pruning_service.stores.uris import StoreUri

_TABLE: Final[tuple[tuple[type[Exception], type[StoreError], str], ...]] = (
    (exceptions.NotFoundError, ObjectMissingError, "there is no such object"),
    (FileNotFoundError, ObjectMissingError, "there is no such object"),
    (exceptions.AlreadyExistsError, ExistsError, "is there already"),
    (exceptions.PreconditionError, ReplacedError, "is not the object that was seen before"),
    (exceptions.PermissionDeniedError, AccessDeniedError, "the store does not allow this to the process's credentials"),
    (exceptions.UnauthenticatedError, AccessDeniedError, "the store does not accept the process's credentials"),
    (exceptions.InvalidPathError, StoreError, "is not a key that stores have"),
    (exceptions.NotSupportedError, StoreError, "the store does not support this"),
    (exceptions.UnknownConfigurationKeyError, StoreError, "the store's configuration has an unknown key"),
)

_MOST_CHARACTERS: Final = 300

_METADATA_SERVICE: Final = "169.254.169.254"
"""Where the library asks a cloud's machine for its credentials, if the environment has none."""

_CREDENTIALS: Final = MappingProxyType(
    {
        "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (docs/stores.md)",
        "gs": "GOOGLE_APPLICATION_CREDENTIALS to the file of a service account",
        "az": "AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN",
    }
)
"""What to set, by the scheme of the URI."""


@contextmanager
def translated(uri: StoreUri) -> Iterator[None]:
    """Raise the errors of the library, inside, as a StoreError of the object. What is not known may pass."""
    try:
        yield
    except StoreError:
        raise
    except (exceptions.BaseError, OSError) as error:
        for kind, ours, description in _TABLE:
            if isinstance(error, kind):
                raise ours(uri, description) from error
        raise StoreUnavailableError(uri, _description(uri, error)) from error


def _description(uri: StoreUri, error: Exception) -> str:
    said = _first_line(error)
    if _METADATA_SERVICE in said or "Account must be specified" in said:
        hint = f"set {_CREDENTIALS.get(uri.scheme, 'them')}, or run on a machine or in a pod that has a role"
        return f"the environment has no credentials for this store; {hint} ({said})"
    return f"the store does not answer as it should: {said}"


def _first_line(error: Exception) -> str:
    """Return the beginning of an error's text, without the query strings of signed requests."""
    text = str(error).strip().split("\n", 1)[0]
    words = (word.partition("?")[0] if "://" in word else word for word in text.split(" "))
    return " ".join(words)[:_MOST_CHARACTERS]
