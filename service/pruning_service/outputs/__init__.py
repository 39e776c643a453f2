"""Results to the bytes of a file: one class per kind of output format."""
