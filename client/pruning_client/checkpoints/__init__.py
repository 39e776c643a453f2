"""Where a model is read from and written to: files, shards, state dicts, packed files."""
