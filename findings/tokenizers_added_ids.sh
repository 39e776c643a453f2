#!/usr/bin/env bash
# Ids of added tokens in a tokenizer.json are ignored: they are counted on from the number of tokens, and may collide.
#
# tokenizers 0.23.3, Python 3.11.
# The file says that "<s>" has the id 9. The model's vocabulary has the ids 0, 2 and 3, as after removing token 1. The
# library gives "<s>" the id 3, the number of tokens of the model, which is already that of "z". Nothing is raised, and
# both tokens are encoded to 3.
#
# Output observed: <s> has the id 9 in the file and is encoded to 3; z is encoded to 3
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check 'tokenizers==0.23.3'
"$work/env/bin/python" - <<'PY'
import json

from tokenizers import Tokenizer

added = {"id": 9, "content": "<s>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
parts = dict.fromkeys(("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"))
model = {"type": "WordLevel", "vocab": {"[UNK]": 0, "y": 2, "z": 3}, "unk_token": "[UNK]"}
content = {"version": "1.0", "added_tokens": [{**added, "special": True}], "model": model, **parts}
tokenizer = Tokenizer.from_str(json.dumps(content))
special, word = tokenizer.encode("<s>").ids, tokenizer.encode("z").ids
print(f"<s> has the id 9 in the file and is encoded to {special[0]}; z is encoded to {word[0]}")
assert special == word == [3]
PY
