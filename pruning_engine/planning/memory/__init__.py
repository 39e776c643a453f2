"""What a plan takes: each parameter by itself, and all of them as they arrive, wait and leave."""
