"""The options that builders of rules for single weights have in common, stated once.

A builder takes them as `**options`, and `spelled_out` shows each in its signature: `help`, editors and type checkers
see keywords with types and defaults.
"""

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, ParamSpec, TypedDict, TypeVar, get_type_hints

from pruning_client.rules.calibration import AllocationLike, SwapsLike, calibrated
from pruning_client.rules.parts import Patterns, PriorName, rule_of
from pruning_proto.v1 import pruning_pb2 as pb

_Arguments = ParamSpec("_Arguments")
_Returned = TypeVar("_Returned")


class EntryOptions(TypedDict, total=False):
    """What every builder takes: see `rules.wanda`."""

    include: Patterns
    exclude: Patterns
    prior: PriorName
    input_dim: int | None
    swaps: SwapsLike
    min_sparsity: float | None
    max_sparsity: float | None


class DividedOptions(EntryOptions, total=False):
    """The same with an allocation, for scores that leave it to the rule how much each tensor loses."""

    allocation: AllocationLike | None


DEFAULTS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "include": (),
        "exclude": (),
        "prior": "history",
        "input_dim": None,
        "swaps": False,
        "min_sparsity": None,
        "max_sparsity": None,
        "allocation": None,
    }
)


def spelled_out(builder: Callable[_Arguments, _Returned]) -> Callable[_Arguments, _Returned]:
    """Return a builder whose signature has a keyword for each of its `**options`."""
    signature = inspect.signature(builder)
    *own, options = signature.parameters.values()
    (allowed,) = options.annotation.__args__  # of Unpack
    shown = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=DEFAULTS[name], annotation=annotation)
        for name, annotation in get_type_hints(allowed).items()
    ]
    spelled = signature.replace(parameters=[*own, *shown])

    def build(*arguments: _Arguments.args, **keywords: _Arguments.kwargs) -> _Returned:
        try:
            spelled.bind(*arguments, **keywords)
        except TypeError as error:
            raise TypeError(f"{builder.__name__}() {error}") from None
        return builder(*arguments, **keywords)

    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(build, name, getattr(builder, name))
    vars(build)["__signature__"] = spelled
    return build


def selecting(score: pb.Score, options: EntryOptions) -> pb.Rule:
    """Return a rule of a score for the tensors that the options say."""
    given: Mapping[str, Any] = {**DEFAULTS, **options}
    return rule_of(score, given["include"], given["exclude"], given["prior"])


def with_parts(rule: pb.Rule, options: EntryOptions, **others: Any) -> pb.Rule:
    """Set the parts of a rule that the options say. Raises: RecipeError."""
    given = {name: value for name, value in options.items() if name not in {"include", "exclude", "prior"}}
    return calibrated(rule, **given, **others)  # type: ignore[arg-type]  # a TypedDict's items have no types
