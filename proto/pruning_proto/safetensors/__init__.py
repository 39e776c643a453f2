"""The safetensors header; no tensors, no I/O."""
