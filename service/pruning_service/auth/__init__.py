"""Who calls, and over which connection."""
