"""The verbs: the largest amount, and the largest amounts of groups, within a loss that the caller measures."""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike

from torch import nn

from pruning_client.calls.request import Rules
from pruning_client.errors import recipe_error
from pruning_client.statistics.statistics import Statistics
from pruning_client.torch.procedures import awaited, carried_out
from pruning_client.torch.pruner import Pruner
from pruning_client.torch.search.result import FoundAmounts
from pruning_client.torch.search.steps import Better, GroupRules, SearchOptions, amount_steps, amounts_steps
from pruning_client.torch.search.trials import Evaluate
from pruning_proto.reasons import Reason


def find_amount(  # noqa: PLR0913 - one keyword for each option
    client: Pruner,
    model: nn.Module,
    rules: Callable[[float], Rules],
    evaluate: Evaluate,
    *,
    max_loss: float,
    better: Better = "higher",
    statistics: Statistics | str | PathLike[str] | None = None,
    highest: float = 0.95,
    tolerance: float = 0.01,
    most_evaluations: int = 10,
) -> FoundAmounts:
    """Return the largest amount at which the pruned model evaluates no more than `max_loss` worse than the dense one.

    `rules` returns the rules for an amount, a float between 0 and 1: a builder such as `rules.l1_unstructured`, or a
    function of your own. `evaluate(model)` returns a number, such as an accuracy; `better="lower"` if less is better,
    as of a perplexity. `max_loss` is in its unit. What is returned was evaluated, not predicted; on other data it may
    differ.

    The search looks at 0 and `highest`, and between the largest amount within the limit and the next one above it that
    is not, until they differ by `tolerance` or `most_evaluations` are done (without the dense model's). Each amount is
    pruned from the original weights. They are in the model again afterwards, also after an error; prune with the
    result's `rules`.

    Raises: MismatchError if the model with `highest` pruned, 0.9 or more, evaluates better than before. RecipeError for
    an invalid option. Errors of `Client.prune`; whatever `evaluate` raises.
    Cost: the selected weights once more in memory.
    Example:
        >>> found = find_amount(client, model, rules.l1_unstructured, evaluate, max_loss=0.5, most_evaluations=3)
        >>> result = client.prune(model.state_dict(), found.rules)
    """
    options = SearchOptions(
        max_loss=max_loss,
        better=better,
        statistics=statistics,
        highest=highest,
        tolerance=tolerance,
        most_evaluations=most_evaluations,
    )
    return carried_out(client, amount_steps(model, rules, evaluate, options))


find_amount_async = awaited(find_amount)


def find_amounts(  # noqa: PLR0913 - one keyword for each option
    client: Pruner,
    model: nn.Module,
    rules: GroupRules,
    evaluate: Evaluate,
    *,
    groups: Mapping[str, str | Sequence[str]],
    max_loss: float,
    better: Better = "higher",
    statistics: Statistics | str | PathLike[str] | None = None,
    highest: float = 0.95,
    tolerance: float = 0.01,
    most_evaluations: int = 10,
) -> FoundAmounts:
    """Return amounts for groups of tensors at which the pruned model evaluates no more than `max_loss` worse.

    `groups` are patterns of names by the name of the group; `rules(amount, include=patterns)` returns the rules of one,
    as the builders of `rules` do. First each group is pruned alone, at two amounts, and evaluated: its sensitivity.
    Then a search as in `find_amount` looks for the largest sparsity of all groups together, divided by sensitivity. If
    the same amount in each group is within the limit at that sparsity too, a larger one is looked for among those. All
    else is as in `find_amount`; `most_evaluations` counts those of each search, without the two of each group.

    Raises: as `find_amount`. MismatchError if a tensor is in two groups.
    Example:
        >>> groups = {"first": "0.*", "last": "2.*"}
        >>> found = find_amounts(client, model, rules.l1_unstructured, evaluate, groups=groups, max_loss=0.1)
        >>> sorted(found.amounts)
        ['first', 'last']
    """
    options = SearchOptions(
        max_loss=max_loss,
        better=better,
        statistics=statistics,
        highest=highest,
        tolerance=tolerance,
        most_evaluations=most_evaluations,
    )
    return carried_out(client, amounts_steps(model, rules, evaluate, _some(groups), options))


find_amounts_async = awaited(find_amounts)


def _some(groups: Mapping[str, str | Sequence[str]]) -> Mapping[str, str | Sequence[str]]:
    if not groups:
        raise recipe_error(Reason.INVALID_RECIPE, "groups", "name at least one group, with its patterns")
    return groups
