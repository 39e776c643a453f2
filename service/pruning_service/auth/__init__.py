"""Authentication: tokens, TLS, and the caller's name."""
