"""Remove half of the experts of a mixture of experts, the ones that its routers value least. transformers loads it.

    pip install 'pruning-service[service]' transformers
    python examples/experts_of_a_moe.py

The model is a tiny Mixtral with random weights; a real one's folder is pruned by the same lines.
"""

import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, MixtralConfig, MixtralForCausalLM

from pruning_client import LocalClient, prune_folder, rules
from pruning_client.torch import collect_statistics


def main() -> None:
    """Write a model, measure its experts, and keep four of eight in each layer."""
    torch.manual_seed(0)
    folder = Path(tempfile.mkdtemp(prefix="experts-"))
    config = MixtralConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=8, num_experts_per_tok=2,
    )  # fmt: skip
    model = MixtralForCausalLM(config)
    model.save_pretrained(folder / "full")

    batches = [torch.randint(0, config.vocab_size, (4, 32)) for _ in range(4)]
    statistics = collect_statistics(model, batches, kind="experts")
    statistics.save(folder / "scores.safetensors")

    with LocalClient() as client:
        for name, rule in {
            "by-router": rules.keep_experts(4),
            "by-saliency": rules.keep_experts(4, score=folder / "scores.safetensors"),
        }.items():
            report = prune_folder(client, folder / "full", folder / name, rule)
            smaller = AutoModelForCausalLM.from_pretrained(folder / name)
            print(f"{name}: {smaller.num_parameters():,} of {model.num_parameters():,} parameters")
            for group in report.groups:
                print(f"  {group.name}: keeps experts {', '.join(map(str, group.kept))} of {group.units}")
            print(f"  its config.json says {smaller.config.num_local_experts} experts")


if __name__ == "__main__":
    main()
