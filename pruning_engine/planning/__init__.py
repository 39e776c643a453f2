"""What will be done, from names, dtypes and shapes alone; never from data."""
