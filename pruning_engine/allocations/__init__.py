"""How one amount is divided among the tensors of a rule."""
