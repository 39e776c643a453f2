"""Jobs on the command line: what they look like, and `prune run` as one."""
