#!/usr/bin/env bash
# transformers dequantizes FP8 weights by blocks of equal size, whatever `weight_block_size` says.
#
# transformers 5.23.0, torch 2.13.0, accelerate 1.15.0, safetensors 0.8.0, Python 3.11.
# A weight of 96 rows in blocks of 64 has two rows of scales: for rows 0 to 63 and 64 to 95. With
# `FineGrainedFP8Config(dequantize=True)` the loader divides the rows by the number of scales, and multiplies rows 0 to
# 47 and 48 to 95: 16 rows get another block's scale, without a warning. Where the rows cannot be divided evenly (576 rows
# in blocks of 128, as DeepSeek-V3 has), loading fails.
#
# Output observed: config.json: blocks of [64, 64]; rows with another block's scale: 16, the first one 48
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
    'torch==2.13.0' 'transformers==5.23.0' 'accelerate==1.15.0' 'safetensors==0.8.0' 'numpy<3'
cd "$work"
"$work/env/bin/python" -W ignore - <<'PY'
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, FineGrainedFP8Config, LlamaConfig, LlamaForCausalLM

SIZE = 64
config = LlamaConfig(
    vocab_size=64, hidden_size=64, intermediate_size=96, num_hidden_layers=1, num_attention_heads=4
)
LlamaForCausalLM(config).save_pretrained("model")
file, settings = Path("model/model.safetensors"), Path("model/config.json")
tensors = load_file(file)
for name in [name for name in tensors if name.endswith("proj.weight")]:
    rows, columns = tensors[name].shape
    tensors[name] = torch.ones(rows, columns).to(torch.float8_e4m3fn)
    scale = torch.ones(-(-rows // SIZE), -(-columns // SIZE))
    scale[1:] = 8.0
    tensors[f"{name}_scale_inv"] = scale
save_file(tensors, file, {"format": "pt"})
fields = json.loads(settings.read_text())
fields["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [SIZE, SIZE]}
settings.write_text(json.dumps(fields))

plain = FineGrainedFP8Config(dequantize=True)
model = AutoModelForCausalLM.from_pretrained("model", quantization_config=plain, dtype=torch.float32)
loaded = model.state_dict()["model.layers.0.mlp.gate_proj.weight"][:, 0]
expected = torch.ones(96)
expected[SIZE:] = 8.0
wrong = (loaded != expected).nonzero().flatten().tolist()
print(f"config.json: blocks of {[SIZE, SIZE]}; rows with another block's scale: {len(wrong)}, the first one {wrong[0]}")
raise SystemExit(wrong != list(range(48, SIZE)))
PY
