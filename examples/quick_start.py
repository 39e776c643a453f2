"""Prune a file without torch and without a server: plan it, look at what would be done, do it, and look at the result.

    pip install 'pruning-service[local]'
    python examples/quick_start.py [MODEL.safetensors]

Without a model, it makes a small one.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from pruning_client import LocalClient, rules


def small_model() -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    """Return the tensors of two layers and a norm."""
    draw = np.random.default_rng(0)
    shapes = {"embeddings.weight": (100, 32), "fc1.weight": (64, 32), "fc2.weight": (32, 64), "norm.weight": (32,)}
    return {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def main() -> None:
    """Prune half of the weights of all layers together, those of the smallest magnitude."""
    folder = Path(tempfile.mkdtemp(prefix="quick-start-"))
    with LocalClient() as client:
        if len(sys.argv) > 1:
            source = Path(sys.argv[1])
        else:
            source = folder / "model.safetensors"
            client.prune(small_model(), rules.identity()).save(source)

        rule = rules.l1_unstructured(0.5, scope="global")
        print(rule)
        plan = client.plan(source, rule)
        print(plan)  # in a notebook: a table
        for tensor in plan.largest_not_selected:
            print(f"  not selected: {tensor.name} ({tensor.not_selected})")

        report = client.prune_file(source, folder / "pruned.safetensors", rule)
        print(report)
        for row in report.tensors:
            print(f"  {row.name:20} {row.sparsity:7.2%} zeros, |w| up to {row.threshold or 0:.3f} pruned")
    page = folder / "report.html"
    page.write_text(report.to_html(before=source, after=folder / "pruned.safetensors"), encoding="utf-8")
    print(f"wrote {folder / 'pruned.safetensors'} and {page}")


if __name__ == "__main__":
    main()
