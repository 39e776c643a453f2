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
    options: dict[str, Any] = {"client_options": _CLIENT, "retry_config": _RETRIES}
    match uri.scheme:
        case "s3":
            address = endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
            if address:
                options |= {"endpoint": address, "client_options": _CLIENT | {"allow_http": _is_plain(address)}}
            return S3Store(uri.bucket, **options)
        case "gs":
            return GCSStore(uri.bucket, **options)
        case _:
            return AzureStore(uri.bucket, **options)


def _is_plain(address: str) -> bool:
    return address.lower().startswith("http://")
