"""The map of experts: blocks of a mixture of experts, found by names and shapes on disk."""
