#!/usr/bin/env bash
# MLX loads an FP8 checkpoint without a word, as integers: the codes of the floats.
#
# mlx 0.32.4 (CPU), Python 3.11. safetensors 0.8.0 and torch 2.13.0 write the files.
# One would expect the values, or the error that F8_E5M2 and F64 raise. F8_E4M3 becomes uint8 with the bits of each float,
# so that 1.0 is 56 and a comparison of magnitudes with another tensor is meaningless; block scales in F8_E8M0 become their
# exponents plus 127.
#
# Output observed: F8_E4M3 [0, 1, 2, 3]: uint8 [0, 56, 64, 68]; F8_E8M0 [1, 2, 4, 8]: uint8 [127, 128, 129, 130]; F8_E5M2: RuntimeError
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check 'mlx[cpu]==0.32.4' 'torch==2.13.0' 'safetensors==0.8.0' 'numpy<3'
cd "$work"
"$work/env/bin/python" -W ignore - <<'PY'
import mlx.core as mx
import torch
from safetensors.torch import save_file


def loaded(values, dtype):
    save_file({"x": torch.tensor(values).to(dtype)}, "x.safetensors")
    try:
        array = mx.load("x.safetensors")["x"]
    except RuntimeError as error:
        return type(error).__name__
    return f"{str(array.dtype).rpartition('.')[2]} {array.tolist()}"


e4m3, e8m0, e5m2 = [0.0, 1.0, 2.0, 3.0], [1.0, 2.0, 4.0, 8.0], [1.0]
text = lambda values: [int(value) for value in values]
codes, exponents = loaded(e4m3, torch.float8_e4m3fn), loaded(e8m0, torch.float8_e8m0fnu)
refused = loaded(e5m2, torch.float8_e5m2)
print(f"F8_E4M3 {text(e4m3)}: {codes}; F8_E8M0 {text(e8m0)}: {exponents}; F8_E5M2: {refused}")
assert codes == "uint8 [0, 56, 64, 68]" and exponents == "uint8 [127, 128, 129, 130]" and refused == "RuntimeError"
PY
