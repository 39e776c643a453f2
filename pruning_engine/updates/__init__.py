"""What becomes of the weights that a rule leaves: swaps, which improve the mask, and updates of the values."""
