"""The catalogue of methods is what the builders are."""

import inspect

import pytest

from pruning_client import rules
from pruning_proto.methods import METHODS, Method

EVERY_RULE_HAS = {"include", "exclude", "prior"}
OF_GROUPS = {"groups"}
"""What only a recipe or Python can say, so that the command line has no option for it."""


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_builder_takes_what_the_catalogue_says(method: Method) -> None:
    takes = set(inspect.signature(getattr(rules, method.name)).parameters)
    assert takes - EVERY_RULE_HAS - OF_GROUPS == set(method.arguments)


OF_MAPS = {f"{verb}_{units}" for verb in ("keep", "drop") for units in ("experts", "layers", "tokens")}
"""`remove_units` with a map, by other names; capabilities list the maps."""


def test_every_builder_of_rules_is_in_the_catalogue() -> None:
    others = {name for name in rules.__all__ if name[0].isupper()}
    others |= {"auto", "group", "tie", "sparsity", "kept", "load_recipe", "dump_recipe", "installed_method"}
    assert set(rules.__all__) - others - OF_MAPS == {method.name for method in METHODS}
