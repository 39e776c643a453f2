"""A recipe file: the YAML of the protobuf JSON mapping of `pruning.v1.Recipe`, with rules that may be in short form.

    rules:
      - method: l1_unstructured       # see `short_rules`
        amount: 0.5
        scope: global
      - score: {magnitude: {}}        # see `message_fields`
        scope: global
        amount: {fraction: 0.5}

Here is only the reading and writing of YAML, and which rules are short ones.
"""

from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final

import yaml

from pruning_client.errors import RecipeError
from pruning_client.recipes.content import content_of
from pruning_client.recipes.message_fields import fill
from pruning_client.recipes.short_rules import METHOD, Builders, rule_of
from pruning_proto.reasons import Reason
from pruning_proto.v1.pruning_pb2 import Recipe

_OF_TAGS: Final = (LookupError, AttributeError)
"""What PyYAML raises for a tag whose value does not fit it: `!!int ""`, `!!bool 1`, `!!timestamp now`."""


_LINE_BREAKS: Final = frozenset("\x85\u2028\u2029")


def load(path: str | PathLike[str], builders: Builders) -> Recipe:
    """Read a recipe file.

    Raises: OSError if it cannot be read. RecipeError if it is not a recipe, with the path of the field.
    """
    recipe = Recipe()
    try:
        content = yaml.load(Path(path).read_bytes(), Loader=_Loader)  # noqa: S506 - a SafeLoader
        fill(recipe, _with_built_rules(content, builders), "recipe")
    except RecipeError as error:
        raise RecipeError(
            f"recipe file {fspath(path)}: {error}",
            reason=error.reason,
            metadata=error.metadata,
            violations=error.violations,
        ) from error
    except (yaml.YAMLError, *_OF_TAGS, RecursionError, TypeError, ValueError) as error:
        description = f"recipe file {fspath(path)}: not YAML that a recipe may use: {_in_one_line(error)}"
        raise RecipeError(description, reason=Reason.INVALID_RECIPE) from error
    return recipe


def dump(recipe: Recipe, builders: Builders) -> str:
    """Return a recipe as the text of a file that `load` reads: rules in short form, where there is one for them."""
    content = content_of(recipe, builders)
    text: str = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text


def _with_built_rules(content: object, builders: Builders) -> object:
    """Return the content of a file with the messages of its short rules in their places."""
    rules = content.get("rules") if isinstance(content, dict) else None
    if not isinstance(rules, list):
        return content
    built = [
        rule_of(rule, position, builders) if isinstance(rule, dict) and METHOD in rule else rule
        for position, rule in enumerate(rules)
    ]
    return {**content, "rules": built} if isinstance(content, dict) else content


class _Dumper(yaml.SafeDumper):
    """Escapes the line breaks of Unicode: written as they are, U+0085 is read as a space (PyYAML 6.0.3)."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Return a string, in double quotes if it has such a line break."""
        style = '"' if _LINE_BREAKS.intersection(text) else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _Dumper.represent_text)


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
