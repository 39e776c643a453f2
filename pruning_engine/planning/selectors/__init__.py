"""Which tensors a rule selects: patterns over names, the default targets, and why the rest is not selected."""
