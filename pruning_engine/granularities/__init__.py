"""In which pieces a rule prunes: one file per granularity; `table.py` lists them."""
