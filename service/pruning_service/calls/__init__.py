"""One Prune call."""
