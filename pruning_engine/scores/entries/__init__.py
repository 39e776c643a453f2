"""Scores of single entries that papers propose, and what they share; `weighted_magnitude` is beside this folder."""
