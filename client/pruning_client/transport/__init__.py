"""Addresses, credentials, retries, and gRPC's channels and streams, sync and async.

`channel` and the modules named `sync_...` and `aio_...` import gRPC; a client imports them when it is made.
"""
