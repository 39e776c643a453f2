"""Masks, and their application to a caller's own tensors."""
