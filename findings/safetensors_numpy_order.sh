#!/usr/bin/env bash
# save_file writes the wrong values for a numpy array that is not in C order, and raises nothing.
#
# safetensors 0.8.0, numpy 2.4.6, Python 3.11.
# The writer for torch refuses a tensor that is not contiguous. The one for numpy takes a transposed weight, or one in Fortran
# order, writes its memory as it is under its shape, and so permutes its entries. `numpy.ascontiguousarray` before saving gives
# the right values.
#
# Output observed: saved [[0, 3], [1, 4], [2, 5]], loaded [[0, 1], [2, 3], [4, 5]]; Fortran order equal: False; C order equal: True
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check 'safetensors==0.8.0' 'numpy==2.4.6'
cd "$work"
"$work/env/bin/python" -W ignore - <<'PY'
import numpy as np
from safetensors.numpy import load_file, save_file

weight = np.arange(6, dtype=np.float32).reshape(2, 3)


def through_a_file(array):
    save_file({"weight": array}, "weight.safetensors")
    return load_file("weight.safetensors")["weight"]


transposed = through_a_file(weight.T)
print(f"saved {weight.T.astype(int).tolist()}, loaded {transposed.astype(int).tolist()};", end=" ")
is_equal = {name: bool((through_a_file(array) == array).all()) for name, array in (("Fortran", np.asfortranarray(weight)), ("C", weight))}
print("; ".join(f"{name} order equal: {equal}" for name, equal in is_equal.items()))
assert transposed.shape == (3, 2) and not (transposed == weight.T).all() and is_equal == {"Fortran": False, "C": True}
PY
