"""The kernels in numpy."""
