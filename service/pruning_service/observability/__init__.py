"""Metrics, health and the log format."""
