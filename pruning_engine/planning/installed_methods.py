"""Pruning methods that are installed beside the engine, found by name.

A distribution offers a class under the entry point group `pruning_engine.methods`; the class is written against
`BasePruningMethod`, this engine's or torch's, and answers to `recipe.Method`. Its code runs in this process: install
only what you trust.

Example, in the other distribution's pyproject.toml:

    [project.entry-points."pruning_engine.methods"]
    every_other = "my_methods:EveryOther"
"""

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Final

from pruning_engine.errors import Reason, RecipeError
from pruning_engine.modules.storage import Method
from pruning_engine.recipe import Method as MethodScore

GROUP: Final = "pruning_engine.methods"

MethodClass = Callable[..., Method]


def installed_methods() -> list[str]:
    """Give the names of the methods that are installed, in order. Imports none of them."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def method_class(name: str, field: str) -> MethodClass:
    """Give the class of an installed method; `field` is the place of its name in the recipe.

    Raises: RecipeError if none or several are installed under the name, or if what is cannot be used.
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
    if not (isinstance(loaded, type) and issubclass(loaded, Method)):
        raise _refusal(f"method {name!r}, {value}, is no subclass of BasePruningMethod", field)
    return loaded


def make_method(cls: MethodClass, score: MethodScore, field: str) -> Method:
    """Give a method made with the recipe's arguments. Raises: RecipeError if it does not take them."""
    try:
        return cls(**score.arguments)
    except Exception as error:
        raise _refusal(
            f"method {score.name!r} does not take the arguments {dict(score.arguments)}: {error}", field
        ) from error


def _refusal(message: str, field: str) -> RecipeError:
    return RecipeError(Reason.INVALID_RECIPE, f"{field}: {message}", field=field)
