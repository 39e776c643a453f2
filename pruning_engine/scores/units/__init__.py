"""Scores of whole units that need no statistics: numbers and lists of the caller's, and the rows of a router."""
