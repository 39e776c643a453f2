"""What decides which entries are the least important: one file per score; `table.py` lists them."""
