#!/usr/bin/env bash
# Two weight-only quantizers keep not one zero of a pruned model, one of them not even with 8 bits.
#
# hqq 0.2.8.post1, optimum-quanto 0.2.7, torch 2.13.0, Python 3.11.
# Their zero point is a real number, so that no code need stand for exactly 0. With 8 bits one would expect zeros to
# survive, as they do in quanto's qint8 and float8, which have a scale alone. Half of the weights below are zero before.
#
# Output observed: quanto qint8 32767, qfloat8_e4m3fn 32767, qint4 0, qint2 0; hqq 8 bits 0, 4 bits 0 of 32767 zeros are still zero
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check 'torch==2.13.0' 'hqq==0.2.8.post1' 'optimum-quanto==0.2.7' 'numpy<3'
cd "$work"
"$work/env/bin/python" -W ignore - 2>/dev/null <<'PY'
import torch
from hqq.core.quantize import BaseQuantizeConfig, HQQLinear
from optimum.quanto import freeze, qfloat8, qint2, qint4, qint8, quantize
from torch import nn

torch.manual_seed(0)
weight = torch.randn(256, 256)
weight[weight.abs() < weight.abs().median()] = 0
zeros = weight == 0


def layer():
    linear = nn.Linear(256, 256, bias=False)
    linear.weight.data = weight.clone()
    return linear


def quanto(kind):
    model = nn.Sequential(layer())
    quantize(model, weights=kind)
    freeze(model)
    return int((model[0].weight.dequantize()[zeros] == 0).sum())


def hqq(bits):
    config = BaseQuantizeConfig(nbits=bits, group_size=64)
    quantized = HQQLinear(layer(), config, compute_dtype=torch.float32, device="cpu")
    return int((quantized.dequantize()[zeros] == 0).sum())


by_quanto = {kind.name: quanto(kind) for kind in (qint8, qfloat8, qint4, qint2)}
by_hqq = {bits: hqq(bits) for bits in (8, 4)}
print("quanto", ", ".join(f"{name} {count}" for name, count in by_quanto.items()), end="; hqq ")
print(", ".join(f"{bits} bits {count}" for bits, count in by_hqq.items()), f"of {zeros.sum()} zeros are still zero")
assert by_quanto["qint8"] == zeros.sum() and by_quanto["qint4"] == 0 and not any(by_hqq.values())
PY
