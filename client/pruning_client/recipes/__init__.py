"""What a caller asks for: recipe files, channel groups, sparsity schedules."""
