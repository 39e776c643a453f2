#!/usr/bin/env bash
# A model folder that holds torch's masked form (`weight_orig`, `weight_mask`) loads with new random weights.
#
# transformers 5.23.0, torch 2.13.0, safetensors 0.8.0, Python 3.11.
# `torch.nn.utils.prune` leaves `weight_orig` and `weight_mask` in a module's state dict. Saved as a checkpoint they are
# unexpected names, and the weight is a missing one. from_pretrained raises nothing; it initializes the weight anew, so that
# two loads of one file give two different models. Only the loading report names the tensors.
#
# Output observed: no error; the weight is neither the file's nor the same in two loads
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check 'torch==2.13.0' 'transformers==5.23.0' 'safetensors==0.8.0' 'numpy<3'
cd "$work"
"$work/env/bin/python" -W ignore - <<'PY'
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

sizes = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2)
LlamaForCausalLM(LlamaConfig(**sizes, vocab_size=50)).save_pretrained("model")
tensors = load_file("model/model.safetensors")
name = "model.layers.0.mlp.up_proj.weight"
weight = tensors.pop(name)
tensors |= {f"{name}_orig": weight, f"{name}_mask": torch.ones_like(weight)}
save_file(tensors, "model/model.safetensors", {"format": "pt"})
first, second = (LlamaForCausalLM.from_pretrained("model").model.layers[0].mlp.up_proj.weight for _ in range(2))
is_file, is_stable = first.equal(weight), first.equal(second)
print("no error; the weight is", "the file's" if is_file else "neither the file's", "and" if is_file else "nor",
      "the same in two loads" if not is_stable else "stable")
assert not is_file and not is_stable
PY
