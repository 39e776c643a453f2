"""What a user names as a source or a target: a path on the disk, or a place in a store."""

from pathlib import Path

from pruning_service.stores.uris import StoreUri


def location_of(uri: str) -> Path | StoreUri:
    """Return the place that a URI names; `file://` is a path. Raises: UriError, a ValueError."""
    place = StoreUri.parse(uri)
    return Path("/") / place.path if place.is_file else place
