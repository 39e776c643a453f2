"""The packed format: unpruned values and one bit an entry (`docs/packed.md`)."""
