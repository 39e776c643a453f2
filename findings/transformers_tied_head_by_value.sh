#!/usr/bin/env bash
# A loader decides by comparing values whether an output head is tied: prune one of two equal copies and the model grows.
#
# transformers 5.23.0, torch 2.13.0, safetensors 0.8.0, Python 3.11.
# The config says `tie_word_embeddings: true`, and the file holds both `lm_head.weight` and `model.embed_tokens.weight`.
# One would expect the config to decide. With equal values the two are tied; with one copy pruned they are loaded as two
# parameters, although the loaded config still says that they are tied. A warning in the log is all there is.
#
# Output observed: equal copies: tied; one copy pruned: not tied, config.tie_word_embeddings True
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
LlamaForCausalLM(LlamaConfig(**sizes, vocab_size=50, tie_word_embeddings=True)).save_pretrained("model")
tensors = load_file("model/model.safetensors")
embedding = tensors["model.embed_tokens.weight"]
pruned = torch.where(embedding.abs() < embedding.abs().median(), 0.0, embedding)


def loaded(head):
    save_file({**tensors, "lm_head.weight": head}, "model/model.safetensors", {"format": "pt"})
    model = LlamaForCausalLM.from_pretrained("model")
    return model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr(), model.config.tie_word_embeddings


equal, _ = loaded(embedding.clone())
differs, says_tied = loaded(pruned)
print(f"equal copies: {'tied' if equal else 'not tied'}; one copy pruned: {'tied' if differs else 'not tied'}, "
      f"config.tie_word_embeddings {says_tied}")
assert equal and not differs and says_tied
PY
