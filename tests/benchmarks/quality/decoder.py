"""A small LLaMA, trained from scratch: 6 layers, 5.2 million parameters, a byte-level BPE vocabulary of 4,096.

Trained once, in about a quarter of an hour on two cores, and kept in `.cache/quality`; the folder's name changes with
what it is made of. A seed decides weights and batches; another count of threads may round otherwise.
"""

import hashlib
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn

from scripts.environments import ROOT
from tests.benchmarks.quality import text

FOLDER: Final = ROOT / ".cache" / "quality"
CONTEXT: Final = 256
"""Tokens of one sequence."""

CALIBRATION_SEQUENCES: Final = 64
HELD_OUT_SEQUENCES: Final = 128

_SEED: Final = 15
_STEPS: Final = 900
_BATCH: Final = 16
_PEAK_RATE: Final = 3e-3
_WARM_UP: Final = 60
_WEIGHT_DECAY: Final = 0.1
_SHAPE: Final[dict[str, Any]] = {
    "vocab_size": 4096,
    "hidden_size": 256,
    "intermediate_size": 640,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": CONTEXT,
    "tie_word_embeddings": True,
    "bos_token_id": None,
    "eos_token_id": None,
}


@dataclass(frozen=True, slots=True)
class Decoder:
    """A trained model. `calibration` is text that it was trained on, `held_out` is not; each [sequences, tokens]."""

    folder: Path
    model: nn.Module
    calibration: Tensor
    held_out: Tensor


def decoder() -> Decoder:
    """Return the model from the cache; the first time, train it. Cost: a quarter of an hour then, on two cores."""
    folder = FOLDER / f"decoder-{_digest()}"
    if not (folder / "model.safetensors").exists():
        _train(folder)
    model: nn.Module = transformers.LlamaForCausalLM.from_pretrained(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    training, held_out = (_sequences(tokenizer, part) for part in text.chapters())
    chosen = torch.randperm(len(training), generator=torch.Generator().manual_seed(_SEED))[:CALIBRATION_SEQUENCES]
    return Decoder(folder, model.eval(), training[chosen], held_out[:HELD_OUT_SEQUENCES])


@torch.no_grad()
def perplexity(model: nn.Module, sequences: Tensor) -> float:
    """Return exp of the mean loss over all tokens but each sequence's first."""
    losses = [model(input_ids=batch, labels=batch).loss.item() * len(batch) for batch in torch.split(sequences, 8)]
    return math.exp(sum(losses) / len(sequences))


def _train(folder: Path) -> None:
    training, _ = text.chapters()
    tokenizer = _tokenizer(training)
    sequences = _sequences(tokenizer, training)
    torch.manual_seed(_SEED)
    model: Any = transformers.LlamaForCausalLM(transformers.LlamaConfig(**_SHAPE))
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": _WEIGHT_DECAY}, {"params": vectors, "weight_decay": 0.0}],
        lr=_PEAK_RATE,
        betas=(0.9, 0.95),
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _rate)
    order: list[int] = []
    for step in range(_STEPS):
        if len(order) < _BATCH:
            order += torch.randperm(len(sequences)).tolist()
        batch, order = sequences[order[:_BATCH]], order[_BATCH:]
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 50 == 0:
            sys.stderr.write(f"training a small decoder: step {step} of {_STEPS}, loss {loss.item():.3f}\n")
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    model.eval().save_pretrained(folder)


def _rate(step: int) -> float:
    """The learning rate's share of its peak: a linear warm-up, then a cosine to a twentieth."""
    if step < _WARM_UP:
        return (step + 1) / _WARM_UP
    progress = (step - _WARM_UP) / (_STEPS - _WARM_UP)
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress))


def _tokenizer(chapters: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=_SHAPE["vocab_size"], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(chapters, trainer)
    return tokenizer


def _sequences(tokenizer: Tokenizer, chapters: list[str]) -> Tensor:
    """Return the text as one stream, cut into sequences: [sequences, CONTEXT]."""
    encoded = tokenizer.encode_batch(["\n\n".join(chapters)])[0].ids
    whole = len(encoded) // CONTEXT * CONTEXT
    return torch.tensor(encoded[:whole]).view(-1, CONTEXT)


def _digest() -> str:
    made_of = (_SHAPE, _SEED, _STEPS, _BATCH, _PEAK_RATE, _WARM_UP, _WEIGHT_DECAY, text.BIBLE)
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:12]
