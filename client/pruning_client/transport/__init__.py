"""Addresses, credentials, retries, and gRPC's channels and streams, sync and async.

`channel`, `sync_stream` and `aio_stream` import gRPC; they are imported when a client is made. Nothing else here does.
"""
