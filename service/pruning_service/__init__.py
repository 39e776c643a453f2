"""The pruning server: `python -m pruning_service`. `docs/architecture.md` has the path of a request."""
