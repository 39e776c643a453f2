"""Bias compensation: what pruning takes from a layer's mean output is added to its bias.

Source: An et al. 2024, FLAP, arXiv:2312.11983, section 3.3: b' = b + (W - W') E[x].
"""

from pruning_engine.methods.arrays import Array


def bias_delta(weight: Array, updated: Array, mean_input: Array) -> Array:
    """Return what to add to the bias (R,), from the mean of each input (C,): sum / count."""
    return (weight - updated) @ mean_input
