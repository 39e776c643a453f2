#!/usr/bin/env bash
# A training callback that prunes half of "the weights" empties the output layer and all biases, and spares the embedding.
#
# pytorch-lightning 2.6.6, torch 2.13.0, Python 3.11.
# ModelPruning("l1_unstructured", amount=0.5) names no parameters. One would expect the weights of layers. It ranks
# `weight` and `bias` of every module together: embeddings, gains and biases of norms, biases of layers. An embedding has
# entries of about 1 and a linear layer smaller ones, so that the head is pruned whole, and the norm's gains in a later epoch.
#
# Output observed: after 1 epoch pruned: embedding 39%, norm gains 0%, norm biases 100%, head 100%, head bias 100%;
# after 3 epochs the model's output is zero for every input: True
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check 'torch==2.13.0' 'pytorch-lightning==2.6.6' 'numpy<3'
cd "$work"
"$work/env/bin/python" -W ignore - 2>/dev/null <<'PY'
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelPruning
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Model(LightningModule):
    def __init__(self):
        super().__init__()
        self.embedding, self.norm, self.head = nn.Embedding(10, 8), nn.LayerNorm(8), nn.Linear(8, 2)

    def forward(self, tokens):
        return self.head(self.norm(self.embedding(tokens)))

    def training_step(self, batch, index):
        return self(batch[0]).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)  # pruning alone changes the weights


def pruned(epochs):
    torch.manual_seed(0)
    model, data = Model(), DataLoader(TensorDataset(torch.arange(10)))
    quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    Trainer(max_epochs=epochs, callbacks=[ModelPruning("l1_unstructured", amount=0.5)], accelerator="cpu", **quiet).fit(model, data)
    return model.eval()


once, thrice = pruned(1), pruned(3)
shares = {name: float((value == 0).float().mean()) for name, value in once.state_dict().items()}
texts = [("embedding", "embedding.weight"), ("norm gains", "norm.weight"), ("norm biases", "norm.bias"), ("head", "head.weight"), ("head bias", "head.bias")]
print("after 1 epoch pruned:", ", ".join(f"{text} {shares[name]:.0%}" for text, name in texts) + ";")
is_zero = bool((thrice(torch.arange(10)) == 0).all())
print(f"after 3 epochs the model's output is zero for every input: {is_zero}")
assert shares["head.weight"] == 1 and shares["embedding.weight"] < 0.5 and is_zero
PY
