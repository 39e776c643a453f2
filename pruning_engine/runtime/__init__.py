"""Threads and yield points; knows no tensors."""
