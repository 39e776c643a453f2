#!/usr/bin/env bash
# LongCat models are saved with weights of experts that have none, and a checkpoint without these does not load.
#
# transformers 5.23.0, torch 2.13.0, safetensors 0.8.0, Python 3.11.
# A small LongCat has 4 experts and 2 that only pass their input on (`zero_expert_num`). The file that it writes has
# `gate_proj` and `up_proj` of 6 experts and `down_proj` of 4: those of the last two are random and never used. Without
# them, which is all that a reader of the file needs, `from_pretrained` fails with a size mismatch.
#
# Output observed: gate_proj of 6, up_proj of 6, down_proj of 4 experts; without those of experts 4 and 5: RuntimeError
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check 'torch==2.13.0' 'transformers==5.23.0' 'safetensors==0.8.0' 'numpy<3'
cd "$work"
"$work/env/bin/python" -W ignore - <<'PY'
import re
from pathlib import Path

from safetensors.torch import load_file, save_file
from transformers import LongcatFlashConfig, LongcatFlashForCausalLM

sizes = dict(hidden_size=16, ffn_hidden_size=24, expert_ffn_hidden_size=8, num_layers=1, num_attention_heads=4, vocab_size=50)
latent = dict(kv_lora_rank=8, q_lora_rank=8, qk_rope_head_dim=4, qk_nope_head_dim=4, v_head_dim=4)
config = LongcatFlashConfig(**sizes, **latent, n_routed_experts=4, zero_expert_num=2, moe_topk=2)
LongcatFlashForCausalLM(config).save_pretrained("model")
file = Path("model/model.safetensors")
tensors = load_file(file)
kinds = ("gate_proj", "up_proj", "down_proj")
counts = {kind: sum(".experts." in name and f".{kind}." in name for name in tensors) for kind in kinds}
save_file({name: tensor for name, tensor in tensors.items() if not re.search(r"experts\.[45]\.", name)}, file, {"format": "pt"})
failure = None
try:
    LongcatFlashForCausalLM.from_pretrained("model")
except RuntimeError as error:
    failure = error
print(", ".join(f"{kind} of {count}" for kind, count in counts.items()), end=" experts; ")
print(f"without those of experts 4 and 5: {type(failure).__name__}")
assert counts == {"gate_proj": 6, "up_proj": 6, "down_proj": 4} and failure is not None
PY
