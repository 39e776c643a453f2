#!/usr/bin/env bash
# A checkpoint whose experts are numbered 0, 2, 3 loads into a model of three experts as if they were numbered 0, 1, 2.
#
# transformers 5.23.0, torch 2.13.0, safetensors 0.8.0, Python 3.11.
# Expert 1 of a small Mixtral is left out of the file, with its row of the router, and `num_local_experts` is 3. A reader
# of the file would expect missing weights for expert 1 and unexpected ones for expert 3. There are none: the loader
# stacks whatever experts the file has, in order of their numbers. Here the result happens to be the intended model;
# with a router whose rows were not cut in the same order it is a different model, and nothing says so.
#
# Output observed: missing 0, unexpected 0, mismatched 0; expert 1 of the loaded model is expert 2 of the file
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check 'torch==2.13.0' 'transformers==5.23.0' 'safetensors==0.8.0' 'numpy<3'
cd "$work"
"$work/env/bin/python" -W ignore - <<'PY'
import json
from pathlib import Path

from safetensors.torch import load_file, save_file
from transformers import MixtralConfig, MixtralForCausalLM

sizes = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2)
config = MixtralConfig(**sizes, vocab_size=50, num_local_experts=4, num_experts_per_tok=2)
MixtralForCausalLM(config).save_pretrained("model")
file, settings = Path("model/model.safetensors"), Path("model/config.json")
tensors = load_file(file)
kept = {name: tensor for name, tensor in tensors.items() if ".experts.1." not in name}
(router,) = (name for name in kept if name.endswith("gate.weight"))
kept[router] = kept[router][[0, 2, 3]].contiguous()
save_file(kept, file, {"format": "pt"})
settings.write_text(json.dumps(json.loads(settings.read_text()) | {"num_local_experts": 3}))

model, info = MixtralForCausalLM.from_pretrained("model", output_loading_info=True)
counts = {kind: len(info[f"{kind}_keys"]) for kind in ("missing", "unexpected", "mismatched")}
(fused,) = (weight for name, weight in model.named_parameters() if name.endswith("experts.down_proj"))
is_renumbered = fused[1].equal(tensors["model.layers.0.block_sparse_moe.experts.2.w2.weight"])
print(", ".join(f"{kind} {count}" for kind, count in counts.items()), end="; ")
print("expert 1 of the loaded model is expert 2 of the file" if is_renumbered else "experts are not renumbered")
assert not any(counts.values()) and is_renumbered
PY
