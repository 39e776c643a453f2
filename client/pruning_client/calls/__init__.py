"""One call without its network: what to send, and what to make of what is received. Imports no gRPC."""
