"""Pruning methods that are installed beside the engine, found by name.

A distribution offers a class under the entry point group `pruning_engine.methods`; the class is written against
`BasePruningMethod`, this engine's or torch's, and is used by `recipe.Method`. Its code runs in this process: install
only what you trust. Names are read from the metadata of distributions; torch is imported when a method is loaded.

Example, in the other distribution's pyproject.toml:

    [project.entry-points."pruning_engine.methods"]
    every_other = "my_methods:EveryOther"
"""

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final, TypeAlias

from pruning_engine.errors import Reason, RecipeError

if TYPE_CHECKING:
    from torch.nn.utils.prune import BasePruningMethod

GROUP: Final = "pruning_engine.methods"

MethodClass: TypeAlias = "Callable[..., BasePruningMethod]"


def installed_methods() -> list[str]:
    """Return the names of the installed methods, in order, without importing them."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def method_class(name: str, field: str) -> MethodClass:
    """Return the class of an installed method; `field` is the path of its name in the recipe.

    Raises: RecipeError if none or several are installed under the name, or if the one cannot be used.
    """
    found = {entry.value: entry for entry in entry_points(group=GROUP, name=name)}
    if len(found) != 1:
        what = "no method" if not found else f"more than one method ({', '.join(sorted(found))})"
        raise _refusal(f"{what} is installed under the name {name!r}; installed: {installed_methods()}", field)
    ((value, entry),) = found.items()
    try:
        loaded = entry.load()
    except Exception as error:
        raise _refusal(f"method {name!r} cannot be imported from {value}: {error}", field) from error
    if not _is_method_class(loaded):
        raise _refusal(f"method {name!r}, {value}, is not a subclass of BasePruningMethod", field)
    cls: MethodClass = loaded
    return cls


def make_method(cls: MethodClass, name: str, arguments: Mapping[str, object], field: str) -> "BasePruningMethod":
    """Return a method made with the recipe's arguments. Raises: RecipeError if it does not take them."""
    try:
        return cls(**arguments)
    except Exception as error:
        raise _refusal(f"method {name!r} does not take the arguments {dict(arguments)}: {error}", field) from error


def _is_method_class(loaded: object) -> bool:
    from torch.nn.utils.prune import BasePruningMethod  # noqa: PLC0415 - only where a recipe uses a method

    return isinstance(loaded, type) and issubclass(loaded, BasePruningMethod)


def _refusal(message: str, field: str) -> RecipeError:
    return RecipeError(Reason.INVALID_RECIPE, f"{field}: {message}", field=field)
