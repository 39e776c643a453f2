"""Jobs: checkpoints pruned by reference, from one place of an object store to another."""
