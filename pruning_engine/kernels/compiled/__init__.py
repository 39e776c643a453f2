"""The CPU's hot loops in C, with the numpy kernels as reference and fallback."""
