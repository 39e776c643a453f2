"""Folders of Hugging Face models."""
