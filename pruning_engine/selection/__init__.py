"""The exact k least important entries or channels."""
