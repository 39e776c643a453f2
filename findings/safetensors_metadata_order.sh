#!/usr/bin/env bash
# Saving the same tensors with the same metadata twice gives two different files.
#
# safetensors 0.8.0, numpy 2.4.6, Python 3.11.
# The tensors of a header are sorted, and one would expect equal input to give equal bytes. Metadata with more than one key is
# written in a new random order by each process, so that SHA-256, deduplicating storage and build caches see
# another file. With one key, such as `format` alone, the bytes are equal.
#
# Output observed: 8 processes: one key 1 file, six keys 8 files
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check 'safetensors==0.8.0' 'numpy==2.4.6'
cd "$work"
"$work/env/bin/python" -W ignore - <<'PY'
import hashlib
import subprocess
import sys
from collections import Counter

SAVE = """
import sys
import numpy as np
from safetensors.numpy import save
sys.stdout.buffer.write(save({"weight": np.zeros(4, np.float32)}, {key: "value" for key in sys.argv[1]}))
"""


def files(keys):
    runs = (subprocess.run([sys.executable, "-c", SAVE, keys], capture_output=True, check=True) for _ in range(8))
    return len(Counter(hashlib.sha256(run.stdout).hexdigest() for run in runs))


one, six = files("a"), files("abcdef")
print(f"8 processes: one key {one} file, six keys {six} files")
assert one == 1 and six > 1
PY
