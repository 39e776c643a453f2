"""What comes back from a server, as frozen values."""
