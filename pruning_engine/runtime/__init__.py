"""Threads, yield points and scratch memory; knows no tensors."""
