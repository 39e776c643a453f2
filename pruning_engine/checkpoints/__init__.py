"""Which tensors of a checkpoint belong to one parameter: masked pairs, auxiliary tensors, shared tensors."""
