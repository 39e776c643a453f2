"""Rules for one block: patterns that match none of its tensors are left out, and rules without any."""

from collections.abc import Iterable

from pruning_client.errors import MismatchError, RecipeError
from pruning_client.torch.collection.targets import matches
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb


def check_rules(recipe: pb.Recipe, names: Iterable[str]) -> None:
    """Refuse rules that need all blocks at once, or name what is not in any.

    `names` are the tensors of all blocks. Raises: RecipeError. MismatchError for a pattern without a match.
    """
    everything = list(names)
    for position, rule in enumerate(recipe.rules):
        where = f"recipe.rules[{position}]"
        if rule.scope == pb.SCOPE_GLOBAL or rule.score.HasField("lamp"):
            raise RecipeError(
                f"{where}.scope: tensors of all blocks cannot compete for one amount, because they are pruned one "
                "block after the other; leave the scope out",
                reason=Reason.INVALID_RECIPE,
            )
        if rule.granularity.HasField("units"):
            raise RecipeError(
                f"{where}.granularity.units: channel groups are not pruned block by block; use `prune`",
                reason=Reason.INVALID_RECIPE,
            )
        for pattern in (*rule.select.include, *rule.select.exclude):
            if not matches(pattern, everything):
                raise MismatchError(
                    f"{where}.select: {pattern!r} matches no tensor of the blocks", reason=Reason.SELECTS_NOTHING
                )


def rules_for(recipe: pb.Recipe, names: Iterable[str]) -> pb.Recipe:
    """Return the rules that may select some of these tensors; without any, the recipe is empty."""
    own = list(names)
    result = pb.Recipe()
    result.CopyFrom(recipe)
    del result.rules[:]
    for rule in recipe.rules:
        include = [pattern for pattern in rule.select.include if matches(pattern, own)]
        if rule.select.include and not include:
            continue
        kept = result.rules.add()
        kept.CopyFrom(rule)
        exclude = [pattern for pattern in rule.select.exclude if matches(pattern, own)]
        kept.ClearField("select")
        if include or exclude:
            kept.select.CopyFrom(pb.Selector(include=include, exclude=exclude))
    return result
