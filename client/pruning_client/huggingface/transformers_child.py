"""The child process of `transformers_check`: models built on the meta device, and what does not fit them.

Reads one JSON object, `{"before": {"config": ..., "shapes": ...}, "after": ..., "stacks": [...]}`, and writes
another, `{"misfits": [...]}`, or `{"unknown": why}` if transformers does not know the model. `stacks` are those that
lost layers: `{"prefix": ..., "units": ..., "kept": [...]}`. Nothing of a model's folder is opened here: configs and
shapes come from the parent, no weights are read, and neither code of the model nor the network is used.
"""

import json
import math
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import torch
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from pruning_client.huggingface.layers.comparison import changed_layers
from pruning_proto.layer_stacks import split_number

_GRACE_SECONDS: Final = 10
"""How long the parent has, once it has asked, to end this process before it ends on its own: it may be gone."""

_IGNORED: Final = ("auto_map", "quantization_config", "_name_or_path")
"""Fields of a config that name other code or other files, or change the tensors of all models alike."""

_FLOAT: Final = "__float__"

_Described: TypeAlias = Mapping[str, Any]
"""The config of a model and the shapes of its tensors."""


_Stack: TypeAlias = Mapping[str, Any]
"""A stack that lost layers: its prefix, how many it had, and which are kept."""


class _UnknownModelError(Exception):
    """transformers cannot build the model, and why."""


def main(timeout_seconds: float) -> int:
    """Answer one question; return the exit status."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what transformers prints is not part of the answer
    question = sys.stdin.read()  # nothing, if the parent is gone or has failed
    if not question:
        return 0
    signal.alarm(math.ceil(timeout_seconds) + _GRACE_SECONDS)
    asked = json.loads(question, object_hook=_with_floats)
    try:
        result: dict[str, Any] = {"misfits": _new_misfits(asked["before"], asked["after"], asked["stacks"])}
    except Exception as error:  # noqa: BLE001 - whatever the model's own code raises
        result = {"unknown": f"{type(error).__name__}: {error}"}
    with answer:
        json.dump(result, answer)
    return 0


def _with_floats(value: dict[str, Any]) -> Any:
    """Return a float of those that JSON does not have, as transformers 5.23 saves them: {"__float__": "Infinity"}."""
    return float(value[_FLOAT]) if value.keys() == {_FLOAT} else value


def _new_misfits(before: _Described, after: _Described, stacks: Sequence[_Stack]) -> list[str]:
    """Return what does not fit now, and did before; the model as it was is only built where this matters.

    Raises: whatever the code of the model as it was raises.
    """
    try:
        model, misfits = _built(after)
    except Exception as error:  # noqa: BLE001 - the model's own code, at a size that it refuses
        _built(before)
        return [f"transformers does not build the model: {str(error).strip().splitlines()[0] or type(error).__name__}"]
    misfits = {name: text for name, text in misfits.items() if not _is_behind(name, stacks)}
    if not misfits and not stacks:
        return []
    old, known = _built(before)
    return [
        *(text for name, text in sorted(misfits.items()) if name not in known),
        *changed_layers(old, model, stacks),
    ]


def _is_behind(name: str, stacks: Sequence[_Stack]) -> bool:
    """Whether a tensor is of a block behind a stack, which transformers does not use: multi-token prediction."""
    parts = split_number(name)
    return parts is not None and any(parts[0] == stack["prefix"] and parts[1] >= len(stack["kept"]) for stack in stacks)


def _built(described: _Described) -> tuple[Any, dict[str, str]]:
    """Return the model that the config describes, and a sentence for each tensor that does not fit it, by its name."""
    shapes = described["shapes"]
    fields = {name: value for name, value in described["config"].items() if name not in _IGNORED}
    if fields.get("model_type") not in CONFIG_MAPPING:
        raise _UnknownModelError(f"transformers has no model_type {fields.get('model_type')!r}")
    config = CONFIG_MAPPING[fields["model_type"]].from_dict(fields)
    tensors = {name: torch.empty(shape, dtype=torch.float32, device="meta") for name, shape in shapes.items()}
    model, found = _model_class(config).from_pretrained(
        None,
        config=config,
        state_dict=tensors,
        device_map={"": "meta"},
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    return model, _failure(model) | {
        **{name: f"tensor {name!r} cannot be loaded" for name in found.get("conversion_errors") or ()},
        **{name: f"tensor {name!r} is missing" for name in found["missing_keys"]},
        **{name: f"the model has no place for tensor {name!r}" for name in found["unexpected_keys"]},
        **{name: _mismatch(name, *shapes) for name, *shapes in found["mismatched_keys"]},
    }


def _failure(model: Any) -> dict[str, str]:
    """Return why the model's forward pass fails on the meta device, where some models always do."""
    tokens = torch.zeros(1, 2, dtype=torch.long, device="meta")
    inputs = {"input_ids": tokens} | ({"decoder_input_ids": tokens} if model.config.is_encoder_decoder else {})
    try:
        with torch.no_grad():
            model.eval()(**inputs)
    except Exception as error:  # noqa: BLE001 - the model's own code
        return {"": f"its forward pass fails ({str(error).strip().splitlines()[0] if str(error) else type(error)})"}
    return {}


def _mismatch(name: str, actual: torch.Size, expected: torch.Size) -> str:
    return f"tensor {name!r} has shape {list(actual)}, and the model's is {list(expected)}"


def _model_class(config: Any) -> Any:
    names = config.architectures or ()
    for name in names:
        found = getattr(transformers, name, None)
        if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel):
            return found
    if names:
        raise _UnknownModelError(f"transformers has no class {names[0]}")
    found = transformers.AutoModel._model_mapping[type(config)]
    return found[0] if isinstance(found, tuple) else found


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
