"""The groups of coupled channels in a checkpoint, and the tensors that consume their channels."""
