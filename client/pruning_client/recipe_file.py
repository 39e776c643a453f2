"""A recipe file: the YAML of the protobuf JSON mapping of `pruning.v1.Recipe`.

    rules:
      - score: {magnitude: {}}
        scope: SCOPE_GLOBAL
        amount: {fraction: 0.5}

Parsing, and refusing what is unknown, is protobuf's; here is only where YAML differs from JSON.
"""

import math
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format

from pruning_client.errors import RecipeError
from pruning_proto.reasons import Reason
from pruning_proto.v1.pruning_pb2 import Recipe


def load(path: str | PathLike[str]) -> Recipe:
    """Read a recipe file.

    Raises: OSError if it cannot be read. RecipeError if it is no recipe; its text has the path of the field.
    """
    try:
        content = yaml.load(Path(path).read_bytes(), Loader=_Loader)  # noqa: S506 - a SafeLoader
        return json_format.ParseDict(_as_json(content), Recipe())
    except yaml.YAMLError as error:
        raise _refused(path, Reason.INVALID_RECIPE, f"not YAML that a recipe may use: {error}") from error
    except json_format.ParseError as error:
        raise _refused(path, Reason.UNSUPPORTED_FIELD, str(error).partition("\n")[0]) from error
    except (RecursionError, TypeError, ValueError) as error:
        raise _refused(path, Reason.INVALID_RECIPE, str(error)) from error


class _Loader(yaml.SafeLoader):
    """YAML's safe reader, which also refuses a key given twice; the plain one keeps the last and says nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Give a mapping whose keys are all different."""
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _as_json(content: object) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise TypeError(f"a recipe is a mapping with the key `rules`, got {type(content).__name__}")
    return {_key(key): _value(value) for key, value in content.items()}


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"the names of fields are strings, got {key!r}")
    return key


def _value(value: object) -> object:
    """Give a value as JSON has it: protobuf's mapping writes infinities and NaN as strings."""
    if isinstance(value, dict):
        return _as_json(value)
    if isinstance(value, list):
        return [_value(item) for item in value]
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, float) and math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, bool | str | int | float) or value is None:
        return value
    raise TypeError(f"a recipe holds no {type(value).__name__}, got {value}; quote it if it is text")


def _refused(path: str | PathLike[str], reason: Reason, wrong: str) -> RecipeError:
    return RecipeError(f"recipe file {fspath(path)}: {wrong}", reason=reason)
