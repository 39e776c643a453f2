"""Tokenizers of the `tokenizers` library (`tokenizer.json`), cut to the ids that a smaller vocabulary keeps.

`trim_tokenizer` writes the smaller file, and `choose_tokens` says which ids a text needs. Text of kept tokens is
encoded to the same tokens as before, under their new ids; where that cannot be so, the request is refused.
"""

from pruning_client.tokenizers.choice import TokenChoice, choose_tokens
from pruning_client.tokenizers.kept_ids import KeptIds
from pruning_client.tokenizers.trim import TrimmedTokenizer, trim_tokenizer

__all__ = ["KeptIds", "TokenChoice", "TrimmedTokenizer", "choose_tokens", "trim_tokenizer"]
