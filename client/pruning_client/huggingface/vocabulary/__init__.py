"""A folder whose vocabulary was cut: the ids of tokens in its config files, and the files of its tokenizer."""
