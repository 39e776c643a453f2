"""Stores to test with."""

from tests.stores import azure, azure_stores, s3, s3_stores, store

__all__ = ["azure", "azure_stores", "s3", "s3_stores", "store"]
