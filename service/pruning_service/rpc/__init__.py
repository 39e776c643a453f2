"""What gRPC sees: the servicer and what wraps it."""
