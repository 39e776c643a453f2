"""The weights in a folder, by the names that transformers and diffusers give their files: variants and shards too."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pruning_client.errors import CheckpointError
from pruning_proto.reasons import Reason

_STEMS: Final = ("model", "diffusion_pytorch_model")
_STEM: Final = "|".join(_STEMS)
_FILE: Final = re.compile(rf"({_STEM})(?:\.([^.]+))?\.safetensors")
_INDEX: Final = re.compile(rf"({_STEM})\.safetensors\.index(?:\.([^.]+))?\.json")
_SHARD: Final = re.compile(r"-\d+-of-\d+$")


@dataclass(frozen=True, slots=True)
class WeightNames:
    """The names of one model's files; `variant` is such as "fp16", or empty."""

    stem: str = "model"
    variant: str = ""

    @property
    def file(self) -> str:
        """The name of a single file."""
        return f"{self._beginning}.safetensors"

    @property
    def index(self) -> str:
        """The name of the index of several files."""
        return f"{self.stem}.safetensors.index{self.variant and '.'}{self.variant}.json"

    def shard(self, position: int, count: int) -> str:
        """Return the name of one of several files, counted from 0."""
        return f"{self._beginning}-{position + 1:05}-of-{count:05}.safetensors"

    @property
    def _beginning(self) -> str:
        return f"{self.stem}{self.variant and '.'}{self.variant}"


def names_of(weights: Path) -> WeightNames | None:
    """Return the names that a file or an index of weights follows; None if it is named otherwise."""
    match = _FILE.fullmatch(weights.name) or _INDEX.fullmatch(weights.name)
    if match is None or _SHARD.search(match[2] or ""):
        return None
    return WeightNames(match[1], match[2] or "")


def weights_in(folder: Path) -> Path | None:
    """Return the file of the weights in a folder, or the index of several; None if there are none.

    Those without a variant are preferred. Raises: OSError. CheckpointError if there are several variants only.
    """
    names = {path.name: names for path in sorted(folder.iterdir()) if (names := names_of(path)) and path.is_file()}
    for stem in _STEMS:
        plain = WeightNames(stem)
        for name in (plain.file, plain.index):
            if name in names:
                return folder / name
    if len({each.variant for each in names.values()}) > 1:
        raise CheckpointError(
            f"{folder}: has its weights in several variants only: {', '.join(names)}; keep one of them in the folder, "
            "or give the file",
            reason=Reason.INVALID_HEADER,
        )
    return folder / min(names, key=lambda name: name.endswith(".json")) if names else None
