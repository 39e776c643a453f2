"""Builders of rules, under the names of `torch.nn.utils.prune`. Each returns a `Rule`; a `Recipe` is several.

    rules.l1_unstructured(0.5, scope="global", exclude=["classifier.*"])

`amount` has torch's meaning: a float is a part of what is still unpruned, an int a number of weights. `sparsity(0.9)`
prunes until that part of all weights is pruned, and `kept(32)` until 32 units of each group are left. torch's
`global_unstructured` is `scope="global"`.

Every builder takes `include` and `exclude`, patterns over full parameter names (globs, or regular expressions after
`re:`; by default the weights of layers, without embeddings, output heads, routers and norms), and `prior`: what counts
as pruned already, "mask" (a prior mask or an earlier rule), "zeros" (that, and every zero), or "history" (that, and the
zeros of tensors that an earlier round pruned, by the history in the file's metadata). With
`importance_scores=True` the scores that are sent for a parameter are ranked instead of its weights; a parameter without
scores is refused in local scope and ranked by its weights in global scope, as in torch.

Units are coupled channels of several tensors, such as the rows of one weight and the columns of the next:

    rules.remove_units(0.5, groups=[rules.group(["fc1.weight:0", "fc1.bias:0", "fc2.weight:1"])])

They are named by groups or by a map that the server knows, so these builders take no `include` and `exclude`. The
output format decides what is done with them: "removed" takes them out of the tensors, "pruned" leaves zeros in their
place.

What is invalid in itself is refused here, in the server's words; what depends on the checkpoint is refused there. A
builder does not know its rule's position: the paths in its errors begin inside the rule, `amount.fraction`.
"""

from os import PathLike

from pruning_client.recipes.amounts import Amount, AmountLike, kept, sparsity
from pruning_client.recipes.channel_groups import Group, Tie, group, tie
from pruning_client.rules.automatic import auto
from pruning_client.rules.calibrated_entries import ScoreName as ScoreName
from pruning_client.rules.calibrated_entries import alps, n_of_m, ria, sparsegpt, wanda
from pruning_client.rules.channels import ln_structured, random_structured
from pruning_client.rules.entries import (
    custom_from_mask,
    identity,
    installed_method,
    l1_unstructured,
    lamp,
    random_unstructured,
)
from pruning_client.rules.parts import NormLike as NormLike
from pruning_client.rules.parts import Patterns as Patterns
from pruning_client.rules.parts import PriorName as PriorName
from pruning_client.rules.parts import ScopeName as ScopeName
from pruning_client.rules.recipe import Recipe
from pruning_client.rules.surgery import (
    drop_experts,
    drop_layers,
    drop_tokens,
    keep_experts,
    keep_layers,
    keep_tokens,
)
from pruning_client.rules.table import BUILDERS
from pruning_client.rules.units import UnitScoreName as UnitScoreName
from pruning_client.rules.units import remove_dead, remove_random, remove_units

__all__ = [
    "Amount",
    "AmountLike",
    "Group",
    "Tie",
    "alps",
    "auto",
    "custom_from_mask",
    "drop_experts",
    "drop_layers",
    "drop_tokens",
    "dump_recipe",
    "group",
    "identity",
    "installed_method",
    "keep_experts",
    "keep_layers",
    "keep_tokens",
    "kept",
    "l1_unstructured",
    "lamp",
    "ln_structured",
    "load_recipe",
    "n_of_m",
    "random_structured",
    "random_unstructured",
    "remove_dead",
    "remove_random",
    "remove_units",
    "ria",
    "sparsegpt",
    "sparsity",
    "tie",
    "wanda",
]


def load_recipe(path: str | PathLike[str]) -> Recipe:
    """Read a recipe from a YAML file: rules as methods with arguments, or as the JSON mapping of `pruning.v1.Rule`.

    Raises: OSError if it cannot be read. RecipeError if it is not a recipe; its text has the path of the field.
    Example:
        >>> _ = Path("recipe.yaml").write_text("rules: [{method: l1_unstructured, amount: 0.5, scope: global}]")
        >>> rules.load_recipe("recipe.yaml")
        Recipe([l1_unstructured(0.5, scope='global')])
    """
    from pruning_client.recipes import yaml_file  # noqa: PLC0415 - imports yaml only for those who read a file

    return Recipe.from_message(yaml_file.load(path, BUILDERS))


def dump_recipe(recipe: Recipe) -> str:
    """Return a recipe as the text of a file that `load_recipe` reads: each rule as a method with its arguments.

    Raises: RecipeError if a number in it has no form in a file.
    Example:
        >>> print(rules.dump_recipe(Recipe([rules.l1_unstructured(0.5)])).rstrip())
        rules:
        - method: l1_unstructured
          amount:
            fraction: 0.5
          scope: local
    """
    from pruning_client.recipes import yaml_file  # noqa: PLC0415 - imports yaml only for those who write a file

    return yaml_file.dump(recipe.to_message(), BUILDERS)


BUILDERS.update(
    {
        builder.__name__: builder
        for builder in (
            *(identity, random_unstructured, l1_unstructured, random_structured, ln_structured),
            *(wanda, ria, sparsegpt, alps, lamp, n_of_m),
            *(keep_experts, drop_experts, keep_layers, drop_layers, keep_tokens, drop_tokens),
            *(custom_from_mask, remove_units, remove_random, remove_dead, installed_method),
        )
    }
)
