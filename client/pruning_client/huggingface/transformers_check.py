"""Whether the tensors of a result are those of the model that its config.json describes, as transformers builds it.

transformers runs in a child process with a time limit, on the meta device: no weights are read, and neither the
network nor code of the model is used. Where it is not installed, or does not know the model, the answer is None.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

from pruning_client.huggingface.layers.removal import Removal

Shapes: TypeAlias = Mapping[str, Sequence[int]]
"""The shape of each tensor of a checkpoint, by name."""

TIMEOUT_SECONDS: Final = 180.0

_CHILD: Final = Path(__file__).with_name("transformers_child.py")
_NEEDED: Final = ("torch", "transformers")
_ENVIRONMENT: Final = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_VERBOSITY": "critical",
    "CUDA_VISIBLE_DEVICES": "",
}


class Need(Enum):
    """Whether transformers is to be asked of a result."""

    IN_DOUBT = "only if names and shapes do not show that the result is a model"
    IF_INSTALLED = "wherever it is installed and knows the model"
    REQUIRED = "always; without its answer the result is refused"


class TransformersCheck:
    """transformers in a child process, which starts at once: it is imported while the weights are pruned.

    A context manager that ends the child. `config`: the model's; where transformers is not installed, or there is no
    `model_type`, no child starts. `need`: if only in doubt, the child does not start before it is asked.
    `timeout_seconds`: how long an answer may take.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        need: Need = Need.IF_INSTALLED,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self.need = need
        self._timeout_seconds = timeout_seconds
        self._is_known = "model_type" in config and is_installed()
        self._child = _started(timeout_seconds) if self._is_known and need is not Need.IN_DOUBT else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()

    def misfits(
        self,
        before: tuple[Mapping[str, Any], Shapes],
        after: tuple[Mapping[str, Any], Shapes],
        stacks: Sequence[Removal] = (),
    ) -> list[str] | None:
        """Return a sentence for each tensor that fitted the model before and does not now; None if that is unknown.

        `before` and `after` are a config and the shapes of the tensors. `stacks` are those that have lost layers: there
        is also a sentence for each layer with other settings than it had. To be called once.
        """
        if not self._is_known:
            return None
        if self._child is None:
            self._child = _started(self._timeout_seconds)
        asked = {
            "before": _described(*before),
            "after": _described(*after),
            "stacks": [{"prefix": each.name, "units": each.layers, "kept": each.kept} for each in stacks],
        }
        try:
            text, _ = self._child.communicate(json.dumps(asked).encode(), self._timeout_seconds)
            answer = json.loads(text)
        except (subprocess.TimeoutExpired, ValueError):
            return None
        found: list[str] | None = answer.get("misfits")
        return found


def is_installed() -> bool:
    """Whether transformers can be asked here."""
    return all(find_spec(name) is not None for name in _NEEDED)


def _started(timeout_seconds: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - this Python
        [sys.executable, "-P", str(_CHILD), str(timeout_seconds)],  # -P: nothing from the current folder
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | _ENVIRONMENT,
    )


def _described(config: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    return {"config": config, "shapes": {name: list(shape) for name, shape in shapes.items()}}
