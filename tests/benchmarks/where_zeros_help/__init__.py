"""What zeros are good for, measured: the tables of docs/where_zeros_help.md, one file for each of them."""
