"""Which channels of a module are tied, found by running it once: `derive_groups`. Never on the server.

The torch-pruning package follows a module's computation. On some models it finds no end (a LLaMA with grouped-query
attention), so it runs in a child process with a time limit. The module goes there with parameters of the same shapes
and random values: that is enough, no weights are copied, and the child can try out what it found.
"""

import io
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pruning_client.errors import DeadlineError, MismatchError
from pruning_client.recipes import channel_groups as ties
from pruning_proto.v1 import pruning_pb2 as pb

TIMEOUT_SECONDS: Final = 120.0

_NEEDED: Final = ("torch_pruning", "cloudpickle")
_CHILD: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from pruning_client.torch.channel_groups_child import main; sys.exit(main(float(sys.argv[2])))"
)
_BY_HAND: Final = "name them yourself with `rules.group`, or use a map that the server knows"


class DerivedGroups(list[pb.Group]):
    """Groups of tied channels, for `rules.remove_units(groups=...)`.

    `left_out` says for each layer whose channels cannot be removed why not.
    """

    def __init__(self, groups: Sequence[pb.Group], left_out: Mapping[str, str]) -> None:
        super().__init__(groups)
        self.left_out = dict(left_out)


def derive_groups(
    model: nn.Module,
    example_inputs: Tensor | Sequence[Any] | Mapping[str, Any],
    *,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> DerivedGroups:
    """Find out which channels of a module are tied, for `rules.remove_units(groups=...)`.

    `example_inputs` is what the module is called with: a tensor, several in order, or a mapping of keywords; small
    ones do. Of what torch-pruning finds, those groups are given whose removal was tried and computes the same as zeros
    in their place; so those are left out that change the shape of an output, or mix the heads of an attention.
    Needs the extra `derive`: `pip install 'pruning-service[derive]'`. The module is not touched.
    Raises: MismatchError if the module cannot be sent to a child process, cannot be run there, or has no such groups.
    DeadlineError after `timeout_seconds`. ImportError without the extra. TypeError if this is no module.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"groups are derived from a torch module, got {type(model).__name__}")
    told = _ask_child(_packed(model, example_inputs), timeout_seconds)
    if "error" in told:
        raise MismatchError(f"no groups can be derived: {told['error']}; {_BY_HAND}")
    groups = [_group(each) for each in told["groups"]]
    if not groups:
        left_out = "; ".join(f"{name}: {why}" for name, why in told["left_out"].items()) or "it has no such layers"
        raise MismatchError(f"this module has no channels that can be removed ({left_out}); {_BY_HAND}")
    return DerivedGroups(groups, told["left_out"])


def _packed(model: nn.Module, example_inputs: Any) -> bytes:
    """Give module and inputs as the child reads them, classes of `__main__` and of notebooks included."""
    cloudpickle = _needed()
    if next(model.parameters(), None) is None:
        raise MismatchError("no groups can be derived: the module has no parameters")
    for name, parameter in model.named_parameters():
        if is_lazy(parameter):
            wrong = f"parameter {name!r} has no shape before its lazy module's first input; run the module once"
            raise MismatchError(f"no groups can be derived: {wrong}", metadata={"tensor": name})

    class Pickler(cloudpickle.Pickler):  # type: ignore[name-defined,misc]  # an optional package
        def reducer_override(self, value: Any) -> Any:
            if type(value) is nn.Parameter and value.is_floating_point():
                return random_parameter, (tuple(value.shape),)
            return super().reducer_override(value)

    packed = io.BytesIO()
    try:
        Pickler(packed).dump((model, example_inputs))
    except Exception as error:  # whatever the module's own objects raise
        wrong = f"the module cannot be sent to a child process ({type(error).__name__}: {error})"
        raise MismatchError(f"no groups can be derived: {wrong}; {_BY_HAND}") from error
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
    """Give a parameter that keeps the scale of what flows through it, and is zero nowhere; seeded by the caller."""
    if len(shape) < 2:
        return nn.Parameter(torch.rand(shape, dtype=torch.float64) + 0.5)
    entries = torch.randn(tuple(shape), dtype=torch.float64)
    return nn.Parameter(entries * (shape[0] / max(entries.numel(), 1)) ** 0.5)


def _ask_child(packed: bytes, timeout_seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-c", _CHILD, json.dumps(sys.path), str(timeout_seconds)]
    try:
        done = subprocess.run(command, input=packed, capture_output=True, timeout=timeout_seconds, check=False)  # noqa: S603 - this Python
    except subprocess.TimeoutExpired as error:
        raise DeadlineError(
            f"no groups were derived within {timeout_seconds:g} s: torch-pruning finds no end on some models, such as "
            f"a LLaMA with grouped-query attention; allow more with timeout_seconds=, or {_BY_HAND}"
        ) from error
    try:
        told: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        return {"error": f"the child process ended with status {done.returncode} {' '.join(last)}".strip()}
    return told


def _group(told: dict[str, Any]) -> pb.Group:
    return ties.group([ties.tie(**each) for each in told["ties"]], units=told["units"])
