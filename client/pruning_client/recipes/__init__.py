"""What a caller asks for: recipe files, amounts, channel groups, sparsity schedules."""
