"""Stores to test with."""

from tests.stores import s3, s3_stores, store

__all__ = ["s3", "s3_stores", "store"]
