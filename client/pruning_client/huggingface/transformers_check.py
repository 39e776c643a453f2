"""Whether the tensors of a result are those of the model that its config.json describes, as transformers builds it.

transformers runs in a child process with a time limit, on the meta device: no weights are read, and neither the
network nor code of the model is used. Where it is not installed, or does not know the model, the answer is None.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, TypeAlias

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


def misfits(
    before: tuple[Mapping[str, Any], Shapes],
    after: tuple[Mapping[str, Any], Shapes],
    stacks: Sequence[Removal] = (),
    *,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> list[str] | None:
    """Return a sentence for each tensor that fitted the model before and does not now; None if that is unknown.

    `before` and `after` are a config and the shapes of the tensors. `stacks` are those that have lost layers: there is
    also a sentence for each layer with other settings than it had.
    """
    if "model_type" not in before[0] or any(find_spec(name) is None for name in _NEEDED):
        return None
    asked = {
        "before": _described(*before),
        "after": _described(*after),
        "stacks": [{"prefix": each.name, "units": each.layers, "kept": each.kept} for each in stacks],
    }
    command = [sys.executable, "-P", str(_CHILD), str(timeout_seconds)]  # -P: nothing from the current folder
    try:
        done = subprocess.run(  # noqa: S603 - this Python
            command,
            input=json.dumps(asked).encode(),
            capture_output=True,
            timeout=timeout_seconds,
            check=False,
            env=os.environ | _ENVIRONMENT,
        )
        answer = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return None
    found: list[str] | None = answer.get("misfits")
    return found


def _described(config: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    return {"config": config, "shapes": {name: list(shape) for name, shape in shapes.items()}}
