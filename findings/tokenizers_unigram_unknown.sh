#!/usr/bin/env bash
# Removing a token that a text does not contain changes how a Unigram tokenizer encodes the text.
#
# tokenizers 0.23.3, Python 3.11.
# A character without a token of its own costs 10 more than the token of least score, and that least is computed over the
# vocabulary that is loaded. Without its rarest token, `d` (-45), "unknown" costs -30 instead of -55, and a division
# of "abcd" with an unknown character wins against two tokens that are both still there. So a Unigram vocabulary that is
# cut to the tokens of a text must keep its token of least score, too.
#
# Output observed: whole vocabulary: ab cd; without d, which the text does not use: a bc <unk>
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check 'tokenizers==0.23.3'
"$work/env/bin/python" - <<'PY'
from tokenizers import Tokenizer
from tokenizers.models import Unigram

VOCABULARY = [("<unk>", 0.0), ("ab", -20.0), ("cd", -20.0), ("a", -3.0), ("bc", -4.0), ("d", -45.0)]


def encoded(vocabulary):
    tokenizer = Tokenizer(Unigram(vocabulary, unk_id=0))
    names = [token for token, _ in vocabulary]
    return " ".join(names[number] for number in tokenizer.encode("abcd").ids)


whole = encoded(VOCABULARY)
cut = encoded([entry for entry in VOCABULARY if entry[0] != "d"])
print(f"whole vocabulary: {whole}; without d, which the text does not use: {cut}")
assert (whole, cut) == ("ab cd", "a bc <unk>")
PY
