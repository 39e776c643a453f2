"""Tensors of torch and numpy to bytes and back; neither is imported before a caller uses it."""
