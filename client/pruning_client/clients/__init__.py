"""`Client` and `AsyncClient`."""
