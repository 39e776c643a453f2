"""Protobuf messages to values and back; no decisions."""
