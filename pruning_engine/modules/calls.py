"""What is wrong with a call of the module interface, and the call that is right.

Articles and forum answers show calls that torch rejects with Python's bare TypeError or AttributeError, such as
`ln_structured(model, "linear.weight", method)`. Valid calls are torch's, unchanged.
"""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final, NoReturn, ParamSpec, TypeVar

import torch

from pruning_engine.errors import Reason
from pruning_engine.modules.errors import CallError, ParameterNameError
from pruning_proto.names import ORIG

_SHOWN: Final = 8
"""Names that one message lists."""

P = ParamSpec("P")
R = TypeVar("R")


def shows_right_call(example: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a call that does not fit the function's signature fail with CallError, which shows `example`.

    In the example `{place}` is where the call's own module and name are shown, as they should be.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature, label = inspect.signature(function), example.partition("(")[0]

        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            problem = _problem(signature, args, kwargs)
            if problem is not None:
                given = {**dict(zip(signature.parameters, args, strict=False)), **kwargs}
                call = example.format(place=_place_in(given))
                raise CallError(Reason.INVALID_RECIPE, f"{label}() {problem}; the call is {call}")
            return function(*args, **kwargs)

        return called

    return decorate


def _problem(signature: inspect.Signature, args: tuple[object, ...], kwargs: Mapping[str, object]) -> str | None:
    """Return what does not fit a signature; None if all fits."""
    parameters = [name for name in signature.parameters if name not in {"self", "cls"}]
    try:
        bound = signature.bind_partial(*args, **kwargs).arguments
    except TypeError as error:
        return f"{error}, and takes {', '.join(parameters)}"
    missing = [
        each.name
        for each in signature.parameters.values()
        if each.default is each.empty and each.kind not in {each.VAR_POSITIONAL, each.VAR_KEYWORD}
        if each.name not in bound
    ]
    return f"needs {' and '.join(missing)}" if missing else None


def _place_in(given: Mapping[str, object]) -> str:
    """Return the module and the name of a call as they should be written."""
    module, name = given.get("module"), given.get("name")
    if isinstance(module, torch.nn.Module) and isinstance(name, str):
        owner, _, own_name = name.rpartition(".")
        return f'{_expression(owner)}, "{own_name}"'
    return 'model.linear, "weight"'


def _expression(path: str) -> str:
    """Return Python for the module at a path in `model`."""
    if not path:
        return "module"
    return f"model.{path}" if all(part.isidentifier() for part in path.split(".")) else f'model.get_submodule("{path}")'


def check_is_module(module: object) -> None:
    """Refuse what is not a module. Raises: CallError (a TypeError)."""
    if isinstance(module, torch.nn.Module):
        return
    hint = ""
    if isinstance(module, torch.Tensor):
        hint = ", which does not know its module"
    if isinstance(module, Mapping):
        hint = "; a state dict is pruned with prune_state_dict"
    raise CallError(
        Reason.INVALID_RECIPE,
        f"module is a torch.nn.Module, got {type(module).__name__}{hint}. Give the module and the name of its "
        'parameter: model.linear, "weight"',
        field="module",
    )


def check_place(module: torch.nn.Module, name: str) -> None:
    """Refuse what are not a module and the name of one of its attributes.

    Raises: CallError (a TypeError), ParameterNameError (an AttributeError).
    """
    check_is_module(module)
    if not isinstance(name, str):
        raise CallError(
            Reason.INVALID_RECIPE,
            f"name is the name of a parameter of {type(module).__name__}, got {type(name).__name__}; "
            f"{_listed(list(module._parameters))}",
            field="name",
        )
    if not hasattr(module, name):
        _refuse_name(module, name)


def _refuse_name(module: torch.nn.Module, name: str) -> NoReturn:
    kind, all_names = type(module).__name__, [each.removesuffix(ORIG) for each, _ in module.named_parameters()]
    own, inner = [each for each in all_names if "." not in each], [each for each in all_names if "." in each]
    owner, _, own_name = name.rpartition(".")
    if owner and name in inner:
        description = (
            f"{kind} has no parameter of its own named {name!r}, which is in one of its modules; give that module and "
            f'the name there: {_expression(owner)}, "{own_name}"'
        )
    elif own or not inner:
        close = get_close_matches(name, own, n=1)
        description = f"{kind} has no parameter {name!r}{_meant(close)}; {_listed(own)}"
    else:
        close = get_close_matches(name, inner, n=1) or [each for each in inner if each.endswith(f".{name}")][:1]
        path, _, last = (close or inner)[0].rpartition(".")
        description = (
            f"{kind} has no parameter {name!r}, and none of its own: they are in its modules, such as "
            f'{", ".join(inner[:_SHOWN])}; give a module and the name there: {_expression(path)}, "{last}"'
        )
    raise ParameterNameError(Reason.SELECTS_NOTHING, description, field="name", tensor=name)


def _meant(close: list[str]) -> str:
    return f"; did you mean {close[0]!r}?" if close else ""


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"its parameters: {', '.join(names[:_SHOWN])}{more}" if names else "it has no parameters"


def check_tensor(value: object, name: str) -> None:
    """Refuse what is not a torch tensor. Raises: CallError (a TypeError)."""
    if not isinstance(value, torch.Tensor):
        raise CallError(
            Reason.INVALID_RECIPE,
            f"{name} is a torch tensor, got {type(value).__name__}; torch.as_tensor converts lists and numpy arrays",
            field=name,
        )


def pairs(parameters: Any) -> Iterator[tuple[torch.nn.Module, str]]:
    """Return the (module, name) pairs of `global_unstructured`. Raises: CallError for other values."""
    for position, value in enumerate(parameters):
        pair = tuple(value) if isinstance(value, tuple | list) else ()
        if len(pair) != 2 or not isinstance(pair[0], torch.nn.Module) or not isinstance(pair[1], str):
            got = f"({', '.join(type(each).__name__ for each in pair)})" if pair else type(value).__name__
            raise CallError(
                Reason.INVALID_RECIPE,
                f"parameters[{position}] is not a pair of a module and the name of its parameter, got {got}; write "
                'parameters=[(model.linear, "weight"), ...], or [(module, "weight") for module in model.modules() if '
                "isinstance(module, torch.nn.Linear)]",
                field="parameters",
            )
        yield pair[0], pair[1]
