"""A recipe as the content of a recipe file: each rule in short form, as a method with arguments, if it has one.

The other direction is `yaml_file.load`. Imports no YAML: reports have the content as JSON.
"""

from typing import Any

from google.protobuf.json_format import MessageToDict

from pruning_client.recipes.message_fields import with_plain_words
from pruning_client.recipes.short_rules import Builders, short_form_of
from pruning_proto.v1.pruning_pb2 import Recipe, Rule


def content_of(recipe: Recipe, builders: Builders) -> dict[str, Any]:
    """Return a recipe as mappings, lists, numbers and text."""
    rules = [rule_content(rule, builders) for rule in recipe.rules]
    return {"rules": rules} | ({"seed": recipe.seed} if recipe.HasField("seed") else {})


def json_of(recipe: Recipe, builders: Builders) -> dict[str, Any]:
    """Return a recipe's content for JSON: the seed is text, as in protobuf's JSON mapping."""
    content = content_of(recipe, builders)
    return content | ({"seed": str(recipe.seed)} if "seed" in content else {})


def rule_content(rule: Rule, builders: Builders) -> dict[str, Any]:
    """Return a rule in short form, or if it has none as its fields."""
    long_form = MessageToDict(rule, preserving_proto_field_name=True)
    return short_form_of(rule, builders) or with_plain_words(rule, long_form)
