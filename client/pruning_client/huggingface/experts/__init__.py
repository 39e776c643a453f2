"""Experts in config.json: how many there are, how many a token takes, and what names single ones."""
