"""A recipe file: the YAML of the protobuf JSON mapping of `pruning.v1.Recipe`.

    rules:
      - score: {magnitude: {}}
        scope: SCOPE_GLOBAL
        amount: {fraction: 0.5}

Parsing, and refusing what is wrong by its path, is `recipe_fields`'; here is only the reading of YAML.
"""

from os import PathLike, fspath
from pathlib import Path
from typing import Any

import yaml

from pruning_client.errors import RecipeError
from pruning_client.recipes.message_fields import fill
from pruning_proto.reasons import Reason
from pruning_proto.v1.pruning_pb2 import Recipe


def load(path: str | PathLike[str]) -> Recipe:
    """Read a recipe file.

    Raises: OSError if it cannot be read. RecipeError if it is not a recipe, with the path of the field.
    """
    recipe = Recipe()
    try:
        fill(recipe, yaml.load(Path(path).read_bytes(), Loader=_Loader), "recipe")  # noqa: S506 - a SafeLoader
    except RecipeError as error:
        raise RecipeError(
            f"recipe file {fspath(path)}: {error}",
            reason=error.reason,
            metadata=error.metadata,
            violations=error.violations,
        ) from error
    except (yaml.YAMLError, RecursionError, TypeError, ValueError) as error:
        description = f"recipe file {fspath(path)}: not YAML that a recipe may use: {_in_one_line(error)}"
        raise RecipeError(description, reason=Reason.INVALID_RECIPE) from error
    return recipe


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which also refuses a duplicate key; the plain one silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping whose keys are all different."""
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())
