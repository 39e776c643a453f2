"""Builders of rules that prune single weights by what is in the checkpoint."""

from collections.abc import Mapping
from typing import Unpack

from pruning_client.recipes.amounts import AmountLike, amount_of
from pruning_client.rules.calibration import UpdateLike
from pruning_client.rules.options import DividedOptions, EntryOptions, selecting, spelled_out, with_parts
from pruning_client.rules.parts import (
    BlockLike,
    Patterns,
    PriorName,
    ScopeName,
    entry_blocks,
    ranking,
    rule_of,
    score_of,
)
from pruning_client.rules.rule import Rule
from pruning_proto.v1 import pruning_pb2 as pb


def identity(*, include: Patterns = (), exclude: Patterns = (), prior: PriorName = "history") -> Rule:
    """Prune nothing, but count as selected: output format "masked" gives these tensors a mask.

    Raises: RecipeError for an argument that is out of range or not known.
    Example:
        >>> rules.identity(include='*.weight')
        identity(include=['*.weight'])
    """
    return Rule.from_message(rule_of(pb.Score(identity=pb.Identity()), include, exclude, prior))


def custom_from_mask(*, include: Patterns = (), exclude: Patterns = (), prior: PriorName = "history") -> Rule:
    """Prune where the masks that are sent are 0: `masks=` of `Client.prune`, or `w:mask` beside `w` in a file.

    Raises: RecipeError for an argument that is out of range or not known.
    Example:
        >>> rules.custom_from_mask(include='fc1.*')
        custom_from_mask(include=['fc1.*'])
    """
    return Rule.from_message(rule_of(pb.Score(custom_mask=pb.CustomMask()), include, exclude, prior))


def random_unstructured(
    amount: AmountLike,
    *,
    include: Patterns = (),
    exclude: Patterns = (),
    scope: ScopeName = "local",
    prior: PriorName = "history",
) -> Rule:
    """Prune weights at random, from the recipe's seed.

    Raises: RecipeError for an argument that is out of range or not known.
    Example:
        >>> rules.random_unstructured(0.5, scope='global')
        random_unstructured(0.5, scope='global')
    """
    score = pb.Score(random=pb.RandomScore())
    return Rule.from_message(ranking(rule_of(score, include, exclude, prior), amount, scope))


@spelled_out
def l1_unstructured(
    amount: AmountLike,
    *,
    scope: ScopeName = "local",
    importance_scores: bool = False,
    block: BlockLike | None = None,
    update: UpdateLike | None = None,
    **options: Unpack[DividedOptions],
) -> Rule:
    """Prune the weights of the smallest magnitude.

    `block` prunes rectangles of weights, (output channels, input channels), by the sum of their magnitudes. The other
    arguments are those of `wanda`.

    Raises: RecipeError for an argument that is out of range or not known.
    Example:
        >>> rules.l1_unstructured(0.5, scope='global')
        l1_unstructured(0.5, scope='global')
    """
    score = score_of(None, scope, importance_scores=importance_scores)
    rule = ranking(selecting(score, options), amount, scope)
    if block is not None:
        entry_blocks(rule, block)
    return Rule.from_message(with_parts(rule, options, update=update))


@spelled_out
def lamp(
    amount: AmountLike,
    *,
    update: UpdateLike | None = None,
    **options: Unpack[EntryOptions],
) -> Rule:
    """Prune the weights of the smallest LAMP score, of all tensors together: each layer gets its own sparsity.

    Source: Lee et al., "Layer-adaptive sparsity for the Magnitude-based Pruning", arXiv:2010.07611, equation 1.
    Raises: RecipeError for an argument that is out of range or not known.
    Example:
        >>> rules.lamp(0.9)
        lamp(0.9)
    """
    rule = selecting(pb.Score(lamp=pb.Lamp()), options)
    rule.amount.CopyFrom(amount_of(amount))
    return Rule.from_message(with_parts(rule, options, update=update))


def installed_method(
    name: str,
    arguments: Mapping[str, float | int | str | bool] | None = None,
    *,
    include: Patterns = (),
    exclude: Patterns = (),
    prior: PriorName = "history",
) -> Rule:
    """Prune by a method that is installed on the server, by its name there; `Client.capabilities` lists them.

    `arguments` are those of its constructor, by name: an amount of 1 is not an amount of 1.0.

    Raises: RecipeError for an argument that is out of range or not known.
    Example:
        >>> rules.installed_method('stripes', {'steps': 3})
        installed_method('stripes', arguments={'steps': 3})
    """
    messages = {key: _argument(value) for key, value in (arguments or {}).items()}
    score = pb.Score(method=pb.CustomMethod(name=name, arguments=messages))
    return Rule.from_message(rule_of(score, include, exclude, prior))


def _argument(value: float | int | str | bool) -> pb.Argument:
    if isinstance(value, bool):  # before int, which it also is
        return pb.Argument(flag=value)
    if isinstance(value, int):
        return pb.Argument(integer=value)
    return pb.Argument(number=value) if isinstance(value, float) else pb.Argument(text=value)
