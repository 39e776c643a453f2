"""Masks, and how they are applied to a caller's own tensors."""
