"""Channels, credentials, retries, and the streams of sync and async gRPC."""
