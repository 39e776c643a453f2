"""Arithmetic over one flat tensor; knows no names and no rules."""
