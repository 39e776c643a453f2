"""What is in the tensors of a model, or differs between two: zeros, magnitudes, changes. Reads files, writes none."""
