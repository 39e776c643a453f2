"""What a result looks like on its way out: one class per kind of output format."""
