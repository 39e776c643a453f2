"""`Recipe`: rules in their order, and the seed of their random choices."""

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Final, Self

from pruning_client.errors import recipe_error
from pruning_client.pages.shown import Shown, Summary
from pruning_client.rules.rule import Rule
from pruning_client.rules.table import BUILDERS
from pruning_proto.counted import counted
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb

_LARGEST_SEED: Final = 2**64 - 1


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Recipe(Shown):
    """Rules in the order in which they are carried out, and a seed: all that is asked of a model, as one value.

    `seed`, 0 to 2^64 - 1, repeats the choices of rules that are random; None: a call draws one, and its report has it.

    Raises: RecipeError for a seed that is not an integer of 64 bits. TypeError for what is not a rule.
    Example:
        >>> recipe = Recipe([rules.l1_unstructured(0.5), rules.random_unstructured(0.1)], seed=3)
        >>> recipe
        Recipe([l1_unstructured(0.5), random_unstructured(0.1)], seed=3)
        >>> recipe == Recipe(recipe.rules, seed=3)
        True
    """

    rules: tuple[Rule, ...]
    seed: int | None

    def __init__(self, rules: Rule | Iterable[Rule], *, seed: int | None = None) -> None:
        given = (rules,) if isinstance(rules, Rule | str) or not isinstance(rules, Iterable) else tuple(rules)
        if not all(isinstance(rule, Rule) for rule in given):
            raise TypeError(
                "rules are one Rule, several in order, or a Recipe: `pruning_client.rules` builds them, and "
                f"`rules.load_recipe(path)` reads a file; got {rules!r}"
            )
        object.__setattr__(self, "rules", given)
        object.__setattr__(self, "seed", None if seed is None else _seed(seed))

    @classmethod
    def from_message(cls, message: pb.Recipe) -> Self:
        """Return the recipe of a message."""
        return cls(map(Rule.from_message, message.rules), seed=message.seed if message.HasField("seed") else None)

    def to_message(self) -> pb.Recipe:
        """Return a new message."""
        return pb.Recipe(rules=[rule.to_message() for rule in self.rules], seed=self.seed)

    def __repr__(self) -> str:
        return f"Recipe({list(self.rules)!r}{'' if self.seed is None else f', seed={self.seed}'})"

    @property
    def is_random(self) -> bool:
        """Whether any rule is random, so that the seed matters."""
        return any(rule.to_message().score.HasField("random") for rule in self.rules)

    @property
    def summary(self) -> Summary:
        """What notebooks and terminals show of it: a row for each rule."""
        seed = "" if self.seed is None else f", seed {self.seed}"
        rows = [{"position": position, "rule": repr(rule)} for position, rule in enumerate(self.rules)]
        return Summary(f"{counted(len(rows), 'rule')}{seed}", rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as in a recipe file, as JSON can represent it; a seed of 64 bits is text.

        Example:
            >>> Recipe([rules.l1_unstructured(0.5)]).to_dict()
            {'rules': [{'method': 'l1_unstructured', 'amount': {'fraction': 0.5}, 'scope': 'local'}]}
        """
        from pruning_client.recipes.content import json_of  # noqa: PLC0415 - imports protobuf's JSON

        return json_of(self.to_message(), BUILDERS)


def _seed(seed: int) -> int:
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise recipe_error(Reason.INVALID_RECIPE, "recipe.seed", f"a seed is an integer, got {seed!r}")
    if not 0 <= seed <= _LARGEST_SEED:
        raise recipe_error(Reason.INVALID_RECIPE, "recipe.seed", f"a seed is 0 to 2^64 - 1, got {seed}")
    return int(seed)
