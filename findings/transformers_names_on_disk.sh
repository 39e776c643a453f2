#!/usr/bin/env bash
# save_pretrained writes other names than state_dict() has: patterns made from one match nothing in the other.
#
# transformers 5.23.0, torch 2.13.0, safetensors 0.8.0, Python 3.11.
# A ViT in memory has `layers.0.attention.q_proj.weight`; the file that the same model writes has
# `encoder.layer.0.attention.attention.query.weight`, the name of the model's first release. The loader converts back, so
# that a round trip hides it. Channel groups, masks and include patterns that were made from `state_dict()` do not fit the file.
#
# Output observed: 16 tensors in both; names that memory and disk share: 0 of the layer's 16
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check 'torch==2.13.0' 'transformers==5.23.0' 'safetensors==0.8.0' 'numpy<3'
cd "$work"
"$work/env/bin/python" -W ignore - <<'PY'
from safetensors.torch import load_file
from transformers import ViTConfig, ViTModel

sizes = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=4, image_size=8, patch_size=4)
model = ViTModel(ViTConfig(**sizes))
model.save_pretrained("model")
disk = {name for name in load_file("model/model.safetensors") if "layer." in name}
memory = {name for name in model.state_dict() if "layers." in name}
print(f"{len(disk)} tensors in both; names that memory and disk share: {len(disk & memory)} of the layer's {len(memory)}")
assert disk and len(disk) == len(memory) and not disk & memory
PY
