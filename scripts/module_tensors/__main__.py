"""Record of what kind the tensors of many architectures are, by the classes of their modules.

    python -m scripts.module_tensors    # needs transformers and diffusers, and takes a few minutes

The default targets know names only; a test compares them with this table. Tensors that differ only in numbers and in
distant parents are recorded once, with the first architecture and name. Architectures that need other packages or have
no default sizes are left out.
"""

import re
import warnings
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final

from scripts.environments import ROOT
from scripts.module_tensors.architectures import diffusers_models, torch_modules, transformers_models
from scripts.module_tensors.kinds import ModuleTensor, module_tensors

TABLE: Final = ROOT / "tests" / "engine" / "planning" / "module_tensors.tsv"

_NEAR: Final = 4
"""The last segments of a name, in which tensors differ that are recorded both."""


def record(path: Path) -> None:
    """Write the table: a line for each tensor, and the architectures in the first line."""
    rows: dict[object, list[str]] = {}
    counts: Counter[object] = Counter()
    counted: set[object] = set()
    architectures: dict[str, None] = {}
    for architecture, tensor, name in _tensors():
        plain = re.sub(r"\d+", "0", name)
        key, one = _key(plain, tensor), (architecture, plain, tensor.dims, tensor.owner, tensor.kind)
        rows.setdefault(key, [tensor.kind, str(tensor.dims), tensor.owner, architecture, name])
        counts[key] += one not in counted
        counted.add(one)
        architectures[architecture] = None
    lines = sorted("\t".join([*row, str(counts[key])]) for key, row in rows.items())
    head = f"# {len(counted)} tensors of {len(architectures)} architectures: {' '.join(architectures)}"
    path.write_text("\n".join([head, "kind\tdims\tclass\tarchitecture\tname\ttensors", *lines, ""]), encoding="utf-8")


def _tensors() -> Iterator[tuple[str, ModuleTensor, str]]:
    """Return each tensor with its architecture and one of its names."""
    for architecture, model in chain(torch_modules(), transformers_models(), diffusers_models()):
        yield from ((architecture, tensor, name) for tensor in module_tensors(model) for name in tensor.names)


def _key(name: str, tensor: ModuleTensor) -> tuple[object, ...]:
    """Return what tensors have in common that the table has once."""
    before, near = name.split(".")[:-_NEAR], name.split(".")[-_NEAR:]
    return ".".join(near), "0" in before, "router" in name, tensor.dims, tensor.kind, tensor.owner


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    record(TABLE)
