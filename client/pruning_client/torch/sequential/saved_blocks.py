"""The folder of a run: the pruned tensors of each finished block, and what the run was asked.

`run.json` has the request, and for each finished block what it pruned. A block counts as finished once it is in there,
which is written whole or not at all.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from pruning_client.checkpoints.atomic_file import replacing
from pruning_client.checkpoints.file import FileSource
from pruning_client.errors import MismatchError
from pruning_client.frameworks import torch as adaptor
from pruning_client.results.result import Result
from pruning_client.torch.sequential.report import PrunedBlock

_RUN: Final = "run.json"
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a run is asked, as digests that must be equal for another to go on with it."""

    rules: str
    batches: str
    shapes: str


class SavedBlocks:
    """The finished blocks of a run, in a folder; without one nothing is kept.

    Raises: MismatchError if the folder has a run that was asked something else. OSError.
    """

    def __init__(self, folder: Path | None, request: RunRequest, seed: int | None) -> None:
        self._folder = folder
        self._request = request
        self.seed = seed
        self._blocks: dict[str, dict[str, Any]] = {}
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / _RUN).exists():
            self._go_on(json.loads((folder / _RUN).read_bytes()))

    def _go_on(self, run: Mapping[str, Any]) -> None:
        asked = asdict(self._request)
        changed = [name for name, digest in asked.items() if run.get(name) != digest]
        if run.get("version") != _VERSION or changed:
            raise MismatchError(
                f"{self._folder}: has a run with other {' and '.join(changed) or 'contents'}; give the same again to "
                "go on, or a new folder"
            )
        self.seed = run["seed"]
        self._blocks = dict(run["blocks"])

    def tensors_of(self, path: str, before: Mapping[str, Tensor]) -> tuple[PrunedBlock, dict[str, Tensor]] | None:
        """Return what a finished block pruned, and its tensors; None if it is not finished.

        Raises: MismatchError if the block's weights `before` are not those that were pruned, or the result.
        """
        saved = self._blocks.get(path)
        if saved is None or self._folder is None:
            return None
        if digest_of(before) not in {saved["before"], saved["after"]}:
            raise MismatchError(
                f"{self._folder}: {path} was pruned from other weights than the model has; load the model that the run "
                "began with, or give a new folder"
            )
        source = FileSource(self._folder / saved["file"])
        tensors = {}
        for entry in source.layout.tensors:
            data = bytearray()
            for piece in source.read(entry.begin, entry.end):
                data += piece
            tensors[entry.name] = adaptor.tensor(entry, memoryview(data))
        return PrunedBlock(path, saved["entries"], saved["pruned"], saved["tokens"], is_resumed=True), tensors

    def save(self, block: PrunedBlock, result: Result, before: str, after: str) -> None:
        """Keep a finished block; `before` and `after` are digests of its weights. Raises: OSError."""
        if self._folder is None:
            return
        file = f"block-{len(self._blocks):05}.safetensors"
        result.save(self._folder / file)
        saved = {"entries": block.entries, "pruned": block.pruned, "tokens": block.tokens}
        self._blocks[block.path] = {"file": file, "before": before, "after": after, **saved}
        run = {"version": _VERSION, **asdict(self._request), "seed": self.seed, "blocks": self._blocks}
        with replacing(self._folder / _RUN) as out:
            out.write(json.dumps(run, indent=2).encode())


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of tensors with their names."""
    return digest((name.encode(), adaptor.view(tensor)) for name, tensor in tensors.items())


def digest(parts: Iterable[tuple[bytes, bytes | memoryview]]) -> str:
    """Return the SHA-256 of named bytes."""
    found = hashlib.sha256()
    for name, content in parts:
        found.update(b"%d %b %d " % (len(name), name, len(content)))
        found.update(content)
    return found.hexdigest()
