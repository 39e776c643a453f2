"""Hold `peers.py` against llm-compressor: `python -m tests.benchmarks.quality.llm_compressor`

On the small decoder, with the same sequences. llm-compressor runs in an environment of its own, which is made on the
first run, as it needs other versions of its dependencies; it saves what it pruned, and the perplexity of both is
measured here. It collects statistics block by block on what it pruned before, so that numbers differ a little.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import torch
import transformers
from torch import nn

from scripts.environments import pinned, python_with
from tests.benchmarks.quality.amounts import Amount, NOfM, named
from tests.benchmarks.quality.decoder import decoder, perplexity
from tests.benchmarks.quality.methods import pruned_by_peer
from tests.benchmarks.quality.subjects import grams, small_decoder

_REQUIREMENTS: Final = ("llmcompressor==0.14.0.1", pinned("torch"))
_AMOUNTS: Final[tuple[Amount, ...]] = (0.5, NOfM(2, 4))
_MODIFIERS: Final = {"Wanda": "WandaPruningModifier", "SparseGPT": "SparseGPTModifier"}

_CHILD: Final = """
import sys
import torch
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.pruning import {modifier}
from transformers import AutoModelForCausalLM

folder, sequences, out = sys.argv[1:]
rows = torch.load(sequences).tolist()
data = Dataset.from_dict({{"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]}})
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
recipe = {modifier}(sparsity={sparsity}, mask_structure="{mask}", targets=["Linear"], ignore=["re:.*lm_head"])
oneshot(
    model=model, dataset=data, recipe=recipe, num_calibration_samples=len(rows), max_seq_length=len(rows[0]),
    shuffle_calibration_samples=False,
)
model.save_pretrained(out, save_compressed=False)
"""


def main() -> None:
    """Print the perplexities of both, method by method."""
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers'
    subject = small_decoder()
    statistics = grams(subject)
    sys.stdout.write(
        f"dense {subject.dense:.3f}\n\n| amount | method | llm-compressor | peers.py |\n| --- | --- | --: | --: |\n"
    )
    for amount in _AMOUNTS:
        for name in _MODIFIERS:
            ours = subject.measure(pruned_by_peer(name, subject, statistics, amount))
            sys.stdout.write(f"| {named(amount)} | {name} | {_by_llm_compressor(name, amount):.3f} | {ours:.3f} |\n")
            sys.stdout.flush()


def _by_llm_compressor(name: str, amount: Amount) -> float:
    """Return the perplexity of what llm-compressor pruned. Raises: subprocess.CalledProcessError, with its output."""
    subject = decoder()
    mask = f"{amount.n}:{amount.m}" if isinstance(amount, NOfM) else "0:0"
    sparsity = amount.n / amount.m if isinstance(amount, NOfM) else amount
    child = _CHILD.format(modifier=_MODIFIERS[name], sparsity=sparsity, mask=mask)
    with tempfile.TemporaryDirectory() as folder:
        sequences, out = Path(folder) / "sequences.pt", Path(folder) / "pruned"
        torch.save(subject.calibration, sequences)
        python = python_with("llm-compressor", _REQUIREMENTS)
        command: list[str | Path] = [python, "-c", child, subject.folder, sequences, out]
        subprocess.run(command, check=True, stdout=sys.stderr, cwd=folder)
        pruned: nn.Module = transformers.LlamaForCausalLM.from_pretrained(out)
        return perplexity(pruned.eval(), subject.held_out)


if __name__ == "__main__":
    main()
