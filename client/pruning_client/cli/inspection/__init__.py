"""What `prune inspect` and `prune diff` print, and in what order."""
