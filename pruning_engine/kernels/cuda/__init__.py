"""The kernels in torch operations, for CUDA devices."""
