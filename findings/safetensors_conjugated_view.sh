#!/usr/bin/env bash
# save_file writes the wrong values for a conjugated complex tensor, and raises nothing.
#
# safetensors 0.8.0, torch 2.13.0, Python 3.11.
# `tensor.conj()` in torch is a view of the same memory with a flag. save_file writes the memory and not the values, so what
# is loaded is the tensor before conjugation. A tensor that is not contiguous is refused; this one is contiguous.
# Calling `resolve_conj()` before saving gives the right values.
#
# Output observed: saved 1-2j, loaded 1+2j; after resolve_conj() loaded 1-2j
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check 'torch==2.13.0' 'safetensors==0.8.0' 'numpy<3'
cd "$work"
"$work/env/bin/python" -W ignore - <<'PY'
import torch
from safetensors.torch import load_file, save_file

view = torch.tensor([1 + 2j]).conj()


def through_a_file(tensor):
    save_file({"x": tensor}, "x.safetensors")
    return load_file("x.safetensors")["x"]


plain, resolved = through_a_file(view), through_a_file(view.resolve_conj())
text = lambda tensor: f"{complex(tensor):.0f}".strip("()")
print(f"saved {text(view)}, loaded {text(plain)}; after resolve_conj() loaded {text(resolved)}")
assert not plain.equal(view) and resolved.equal(view)
PY
