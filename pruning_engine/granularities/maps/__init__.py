"""Built-in maps: the coupled channels of common models, found by names and shapes of tensors."""
