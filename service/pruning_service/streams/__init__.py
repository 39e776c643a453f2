"""Bytes to tensors and back, in both directions of a call."""
