"""Widths of experts that transformers cannot compute with: its default multiplies all experts by one grouped_mm."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pruning_client.results.group_report import GroupReport
from pruning_client.results.model_warning import ModelWarning

_CHANNELS: Final = "llama_mlp"
"""The map of the inner channels of MLPs."""

_ROUTED: Final = re.compile(r"(?:^|\.)experts(?:\.\d+)?$")
_STRIDE_BYTES: Final = 16
"""What the rows of the matrices are multiples of: torch 2.13's grouped_mm fails for others, on CPUs and GPUs."""

_FOUR_BYTES: Final = "float32"
_FAILURE: Final = "multiple of 16 bytes"
"""What torch says."""

_ROUND: Final = "keep a multiple (--round-to 8)"
"""What is right for every dtype that models are saved in."""

GROUPED_MM: Final = (
    "nothing was written; transformers multiplies all experts by torch's grouped_mm, whose rows are multiples of 16 "
    f"bytes: {_ROUND}, or prune the safetensors file and load it with experts_implementation='eager'"
)
"""What to do about a model whose forward pass fails by that."""


def is_of_grouped_mm(failure: str) -> bool:
    """Whether a model cannot compute because of the widths of its experts."""
    return _FAILURE in failure


def expert_width_warnings(config: Mapping[str, Any], groups: Sequence[GroupReport]) -> Iterator[ModelWarning]:
    """Yield a warning if routed experts have lost channels and have a number that grouped_mm does not take."""
    step = _STRIDE_BYTES // (4 if _FOUR_BYTES in _dtypes(config) else 2)
    for group in groups:
        width = len(group.kept)
        if group.map == _CHANNELS and _ROUTED.search(group.name) and width < group.units and width % step:
            yield ModelWarning(
                kind="expert_width",
                tensor=group.tensors[0],
                message=f"the experts have {width:,} channels now, which is not a multiple of {step}: grouped_mm, by "
                f"which transformers computes experts, fails with such rows; {_ROUND}, or load the model with "
                "experts_implementation='eager'",
            )
            return


def _dtypes(config: Mapping[str, Any]) -> set[object]:
    """Return the dtypes that a config and its parts name."""
    parts = [config, *(part for part in config.values() if isinstance(part, dict))]
    return {part.get("dtype") or part.get("torch_dtype") for part in parts}
