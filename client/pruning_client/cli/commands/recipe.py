"""`prune recipe`: print the recipe that options of `prune run`, or a recipe file, stand for; needs no server."""

from argparse import ArgumentParser, Namespace

from pruning_client.calls.request import recipe_of
from pruning_client.cli.answer import Answer
from pruning_client.cli.arguments import add_json, titled
from pruning_client.cli.commands.option_names import naming_options
from pruning_client.cli.commands.surgery_options import add_surgery_options, all_rules_of, surgery_warnings
from pruning_client.cli.rule_options import RULE, add_rule_options
from pruning_client.rules import dump_recipe
from pruning_client.rules.recipe import Recipe


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    add_rule_options(parser)
    titled(parser, RULE).add_argument(
        "--seed", type=int, metavar="S", help="of random choices, 0 to 2^64 - 1; default: none, each run draws one"
    )
    add_surgery_options(parser)
    add_json(parser)


def run(options: Namespace) -> Answer:
    """Return the recipe. Raises: UsageError, RecipeError, MismatchError, CheckpointError, OSError."""
    with naming_options(options):
        rules = all_rules_of(options)
    recipe = recipe_of(rules, options.seed)
    if options.seed is None:
        recipe = Recipe(
            recipe.rules, seed=rules.seed if isinstance(rules, Recipe) else None
        )  # without one that was drawn
    return Answer(recipe.to_dict(), dump_recipe(recipe).rstrip(), surgery_warnings(options), is_code=True)
