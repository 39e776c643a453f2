"""The library's stores, one for each bucket: credentials are those of the process's own environment."""

import os
from datetime import timedelta
from typing import Any, Final

from obstore.store import AzureStore, GCSStore, S3Store

from pruning_service.stores.uris import StoreUri

_CLIENT: Final[dict[str, Any]] = {
    "connect_timeout": timedelta(seconds=10),
    "timeout": timedelta(seconds=120),  # of a request with its body
    "pool_max_idle_per_host": "16",
}
_RETRIES: Final[dict[str, Any]] = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 2},
}


def bucket(uri: StoreUri, endpoint: str) -> Any:
    """Return the store of a bucket, not yet contacted. `endpoint`: of the S3 protocol; empty: the environment's."""
    match uri.scheme:
        case "s3":
            return S3Store(uri.bucket, **_options(endpoint or _variable("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")))
        case "gs":
            return GCSStore(uri.bucket, **_options(""))
        case _:
            return AzureStore(uri.bucket, **_options(_variable("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")))


def _options(address: str) -> dict[str, Any]:
    """Return what the library is made with; plaintext is spoken only where an address says so."""
    options: dict[str, Any] = {"client_options": _CLIENT, "retry_config": _RETRIES}
    if address:
        is_plain = address.lower().startswith("http://")
        options |= {"endpoint": address, "client_options": _CLIENT | {"allow_http": is_plain}}
    return options


def _variable(*names: str) -> str:
    return next((text for name in names if (text := os.environ.get(name))), "")
