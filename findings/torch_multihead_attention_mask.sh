#!/usr/bin/env bash
# Pruning `out_proj` of torch's MultiheadAttention has no effect after the first optimizer step or load_state_dict.
#
# torch 2.13.0, Python 3.11.
# `torch.nn.utils.prune` recomputes `weight = weight_orig * weight_mask` in a hook that runs before the module's forward.
# MultiheadAttention reads `out_proj.weight` and never calls `out_proj`, so the hook never runs. After loading a masked
# state dict the layer computes with the weights that it was built with; the state dict looks right.
#
# Output observed: after load_state_dict and a forward pass: weight is weight_orig * weight_mask: False
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check 'torch==2.13.0' 'numpy<3'
cd "$work"
"$work/env/bin/python" -W ignore - <<'PY'
import torch
from torch import nn
from torch.nn.utils import prune

torch.manual_seed(0)
source, target = (nn.MultiheadAttention(8, 2, batch_first=True) for _ in range(2))
for module in (source, target):
    prune.l1_unstructured(module.out_proj, "weight", 0.5)
target.load_state_dict(source.state_dict())
batch = torch.randn(2, 3, 8)
target(batch, batch, batch)
layer = target.out_proj
is_current = layer.weight.equal(layer.weight_orig * layer.weight_mask)
print(f"after load_state_dict and a forward pass: weight is weight_orig * weight_mask: {is_current}")
assert not is_current
PY
