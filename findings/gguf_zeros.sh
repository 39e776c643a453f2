#!/usr/bin/env bash
# Two of GGUF's quantization types turn a pruned model into a dense one.
#
# gguf 0.19.0, numpy, Python 3.11.
# Types with a scale alone keep every zero of the weights: Q8_0, Q5_0, Q4_0, MXFP4 (and BF16). Q5_1 and Q4_1 store a scale and
# a minimum for each block of 32, and zero is hardly ever one of the values that these can represent. Half of the weights below
# are zero before. TQ1_0 and TQ2_0 keep them and add many more.
#
# Output observed: Q8_0 8192, Q5_0 8192, Q4_0 8192, MXFP4 8192, BF16 8192, Q5_1 0, Q4_1 16 of 8192 zeros are still zero
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check 'gguf==0.19.0' 'numpy<3'
cd "$work"
"$work/env/bin/python" -W ignore - <<'PY'
import gguf
import numpy as np
from gguf.quants import dequantize, quantize

weights = np.random.default_rng(0).standard_normal((64, 256)).astype(np.float32)
weights[np.abs(weights) < np.median(np.abs(weights))] = 0
zeros = weights == 0


def still_zero(name):
    kind = getattr(gguf.GGMLQuantizationType, name)
    return int((dequantize(quantize(weights, kind), kind)[zeros] == 0).sum())


keeping, losing = ("Q8_0", "Q5_0", "Q4_0", "MXFP4", "BF16"), ("Q5_1", "Q4_1")
counts = {name: still_zero(name) for name in (*keeping, *losing)}
print(", ".join(f"{name} {count}" for name, count in counts.items()), f"of {zeros.sum()} zeros are still zero")
assert all(counts[name] == zeros.sum() for name in keeping)
assert all(counts[name] < zeros.sum() / 100 for name in losing)
PY
