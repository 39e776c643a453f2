"""What a user names as a source or a target: a path on the disk, or a place in a store."""

from pathlib import Path

from pruning_service.stores.uris import StoreUri


def place_of(uri: str) -> StoreUri:
    """Return the place that a URI names. Raises: UriError, a ValueError."""
    return StoreUri.parse(uri)


def location_of(place: StoreUri) -> Path | StoreUri:
    """Return a place as this process opens it: `file://` is a path."""
    return Path("/") / place.path if place.is_file else place
