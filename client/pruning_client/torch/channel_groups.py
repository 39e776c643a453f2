"""The coupled channels of a module, found by running it once: `derive_groups`. Never on the server.

The torch-pruning package traces a module's computation. On some models it does not terminate (a LLaMA with
grouped-query attention), so it runs in a child process with a time limit. The module is sent there with parameters of
the same shapes and random values: no weights are copied, and the child can verify each group that it finds.
"""

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pruning_client.errors import DeadlineError, MismatchError
from pruning_client.frameworks.names_on_disk import names_on_disk
from pruning_client.recipes import channel_groups
from pruning_client.recipes.channel_groups import Group

TIMEOUT_SECONDS: Final = 120.0

_NEEDED: Final = ("torch_pruning", "cloudpickle")
_CHILD: Final = (
    "import json, sys; sys.path[:], last = json.loads(sys.argv[1]); "
    "from pruning_client.torch.channel_groups_child import main; sys.path += last; sys.exit(main(float(sys.argv[2])))"
)
_BY_HAND: Final = "name them yourself with `rules.group`, or use a map that the server knows"


Names: TypeAlias = Literal["file", "module"]


class DerivedGroups(list[Group]):
    """Groups of coupled channels, for `rules.remove_units(groups=...)`.

    `left_out` maps each layer whose channels cannot be removed to the reason.

    Example:
        >>> derive_groups(model, torch.randn(1, 4)).left_out
        {'2': 'its units are outputs of the module'}
    """

    def __init__(self, groups: Sequence[Group], left_out: Mapping[str, str]) -> None:
        super().__init__(groups)
        self.left_out = dict(left_out)


def derive_groups(
    model: nn.Module,
    example_inputs: Tensor | Sequence[Any] | Mapping[str, Any],
    *,
    names: Names = "file",
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> DerivedGroups:
    """Find the coupled channels of a module, for `rules.remove_units(groups=...)`.

    `example_inputs` is what the module is called with: a tensor, several in order, or a mapping of keywords; small
    ones are enough. Each group that torch-pruning finds is tried: it is returned if removing its channels gives the
    same outputs as setting them to zero. Groups that change the shape of an output, or mix attention heads, are left
    out. Needs the extra `derive`: `pip install 'pruning-service[derive]'`. The module is not changed.
    `names`: transformers names some models' tensors differently in a "file" and in the "module"; the groups are for one
    of the two. For other models both are the same. Names in `left_out` are those of layers, and so the module's.
    Raises: MismatchError if the module cannot be sent to a child process, cannot be run there, or has no such groups.
    DeadlineError after `timeout_seconds`. ImportError without the extra. TypeError if it is not a module.
    Example:
        >>> derive_groups(model, torch.randn(1, 4))
        [group(['0.weight:0', '0.bias:0', '2.weight:1'], units=8)]
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"groups are derived from a torch module, got {type(model).__name__}")
    if names not in get_args(Names):
        raise ValueError(f"names is 'file' or 'module', got {names!r}")
    answer = _ask_child(_packed(model, example_inputs), timeout_seconds)
    if "error" in answer:
        raise MismatchError(f"no groups can be derived: {answer['error']}; {_BY_HAND}")
    groups = _named(answer, names_on_disk(model) if names == "file" else {})
    if not groups:
        left_out = "; ".join(f"{name}: {why}" for name, why in answer["left_out"].items()) or "it has no such layers"
        raise MismatchError(f"this module has no channels that can be removed ({left_out}); {_BY_HAND}")
    return DerivedGroups(groups, answer["left_out"])


def _packed(model: nn.Module, example_inputs: Any) -> bytes:
    """Return module and inputs as the child reads them, including classes of `__main__` and of notebooks."""
    cloudpickle = _needed()
    if next(model.parameters(), None) is None:
        raise MismatchError("no groups can be derived: the module has no parameters")
    for name, parameter in model.named_parameters():
        if is_lazy(parameter):
            problem = f"parameter {name!r} has no shape before its lazy module's first input; run the module once"
            raise MismatchError(f"no groups can be derived: {problem}", metadata={"tensor": name})

    class Pickler(cloudpickle.Pickler):  # type: ignore[name-defined,misc]  # an optional package
        def reducer_override(self, value: Any) -> Any:
            if type(value) is nn.Parameter and value.is_floating_point():
                return random_parameter, (tuple(value.shape),)
            return super().reducer_override(value)

    packed = io.BytesIO()
    try:
        Pickler(packed).dump((model, example_inputs))
    except Exception as error:  # whatever the module's own objects raise
        problem = f"the module cannot be sent to a child process ({type(error).__name__}: {error})"
        raise MismatchError(f"no groups can be derived: {problem}; {_BY_HAND}") from error
    return packed.getvalue()


def _needed() -> ModuleType:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ImportError(
            f"derive_groups needs {' and '.join(missing)}: pip install 'pruning-service[derive]'; or {_BY_HAND}"
        )
    import cloudpickle  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra, imported only when asked for

    return cloudpickle  # type: ignore[no-any-return]


def random_parameter(shape: Sequence[int]) -> nn.Parameter:
    """Return a parameter that keeps the scale of activations and has no zeros; the caller sets the seed."""
    if len(shape) < 2:
        return nn.Parameter(torch.rand(shape, dtype=torch.float64) + 0.5)
    entries = torch.randn(tuple(shape), dtype=torch.float64)
    return nn.Parameter(entries * (shape[0] / max(entries.numel(), 1)) ** 0.5)


def _ask_child(packed: bytes, timeout_seconds: float) -> dict[str, Any]:
    # -P: without it, the child imports json from the current folder if there is one.
    command = [sys.executable, "-P", "-c", _CHILD, json.dumps(_import_path()), str(timeout_seconds)]
    try:
        done = subprocess.run(command, input=packed, capture_output=True, timeout=timeout_seconds, check=False)  # noqa: S603 - this Python
    except subprocess.TimeoutExpired as error:
        raise DeadlineError(
            f"no groups were derived within {timeout_seconds:g} s: torch-pruning does not terminate on some models, "
            f"such as a LLaMA with grouped-query attention; allow more with timeout_seconds=, or {_BY_HAND}"
        ) from error
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        return {"error": f"the child process ended with status {done.returncode} {' '.join(last)}".strip()}
    return answer


def _import_path() -> tuple[list[str], list[str]]:
    """Return the child's path, and what to add once it has imported its own modules: the current folder.

    The model's classes may come from there, but nothing there may replace what is installed. (To be last on the path
    would not do: a `google.py` anywhere on it replaces `google.protobuf`, whose `google` is a namespace package.)
    """
    here = os.path.realpath(os.curdir)
    own = os.path.realpath(Path(__file__).parents[2])  # of pruning_client
    last = [entry for entry in sys.path if os.path.realpath(entry) == here != own]
    return [entry for entry in sys.path if entry not in last], last


def _named(answer: Mapping[str, Any], on_disk: Mapping[str, str | None]) -> list[Group]:
    """Return the groups with the names of a file, where they are others; note in the answer which cannot have any."""
    groups = []
    for group in answer["groups"]:
        tensors = [each["tensor"] for each in group["ties"]]
        changed = next((name for name in tensors if name in on_disk and on_disk[name] is None), None)
        if changed is None:
            groups.append(_group(group, on_disk))
        else:
            answer["left_out"][tensors[0].rpartition(".")[0]] = f"{changed!r} is split or merged in the model's file"
    return groups


def _group(group: dict[str, Any], renamed: Mapping[str, str | None]) -> Group:
    slices = [
        channel_groups.tie(**{**each, "tensor": renamed.get(each["tensor"]) or each["tensor"]})
        for each in group["ties"]
    ]
    return channel_groups.group(slices, units=group["units"])
