# ruff: noqa: PLR0913 - a builder has the parts of a Rule, each by keyword
"""Builders of rules that prune single weights by statistics of the inputs of their layers.

The statistics are sent beside the weights: `statistics=` of `Client.prune`, `--statistics` of `prune run`.
"""

from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias, Unpack

from pruning_client.errors import recipe_error
from pruning_client.recipes.amounts import AmountLike, amount_of
from pruning_client.rules.calibration import SwapsLike, UpdateLike, calibrated
from pruning_client.rules.options import DividedOptions, selecting, spelled_out, with_parts
from pruning_client.rules.parts import (
    NOfMLike,
    Patterns,
    PriorName,
    ScopeName,
    choice,
    n_of_m_pattern,
    pair,
    ranking,
    rule_of,
)
from pruning_client.rules.rule import Rule
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb

ScoreName: TypeAlias = Literal["magnitude", "random", "importance_scores", "weighted_magnitude", "ria", "obs", "alps"]

_SCORES: Final[Mapping[str, Callable[[], pb.Score]]] = {
    "magnitude": lambda: pb.Score(magnitude=pb.Magnitude()),
    "random": lambda: pb.Score(random=pb.RandomScore()),
    "importance_scores": lambda: pb.Score(importance_scores=pb.ImportanceScores()),
    "weighted_magnitude": lambda: pb.Score(weighted_magnitude=pb.WeightedMagnitude()),
    "ria": lambda: pb.Score(ria=pb.RelativeImportance()),
    "obs": lambda: pb.Score(obs=pb.ObsScore()),
    "alps": lambda: pb.Score(alps=pb.Alps()),
}
"""Scores of single weights that go with N:M."""


def n_of_m(
    n: int,
    m: int,
    *,
    score: ScoreName = "magnitude",
    dim: int | None = None,
    allow_dense: bool = False,
    include: Patterns = (),
    exclude: Patterns = (),
    prior: PriorName = "history",
    input_dim: int | None = None,
    swaps: SwapsLike = False,
    update: UpdateLike | None = None,
) -> Rule:
    """Keep the `n` most important of each `m` consecutive weights along `dim`: 2:4 is `n_of_m(2, 4)`.

    `score` says what is important: "magnitude", "random", "importance_scores" (the scores that are sent),
    "weighted_magnitude" (Wanda's), "ria", "obs" (SparseGPT's) or "alps". `dim` is by default the dim of the inputs,
    where that is known, and the last one elsewhere. A tensor whose `dim` is not a multiple of `m` is refused; with
    `allow_dense` it stays as it is. The other arguments are those of `wanda`.

    Raises: RecipeError for an argument that is out of range or not known.
    Example:
        >>> rules.n_of_m(2, 4)
        n_of_m(2, 4)
    """
    rule = rule_of(choice(_SCORES, score, "score")(), include, exclude, prior)
    n_of_m_pattern(rule, n, m, dim, allow_dense=allow_dense)
    return Rule.from_message(calibrated(rule, swaps=swaps, update=update, input_dim=input_dim))


@spelled_out
def wanda(
    amount: AmountLike | None = None,
    *,
    n_of_m: NOfMLike | None = None,
    scope: ScopeName = "output_channel",
    update: UpdateLike | None = None,
    **options: Unpack[DividedOptions],
) -> Rule:
    """Prune the weights of the smallest |w| times the norm of their input channel, in each output channel.

    Either `amount` or `n_of_m`, such as (2, 4), says how many. The norms come with the statistics (`w:in_sum2`), or as
    `w:in_norm` beside `w`: one number per input channel.

    `input_dim` is the dim of the input channels, where neither the statistics nor the model's config.json say it.
    `swaps` improve the mask and change no weight; `update` changes the remaining weights so that the layer's outputs
    change less: "refit", "sparsegpt" or "bias_compensation". Both but the last need Gram matrices (`w:in_gram`).
    `allocation` divides the amount among the tensors: "erk", "owl" or "least_predicted_error". `min_sparsity` and
    `max_sparsity` limit that of each tensor, in global scope or with an allocation.

    Source: Sun et al., "A Simple and Effective Pruning Approach for Large Language Models" (Wanda), arXiv:2306.11695.
    Raises: RecipeError for an argument that is out of range or not known.
    Example:
        >>> rules.wanda(0.5, swaps=True)
        wanda(0.5, swaps=True)
    """
    rule = selecting(_SCORES["weighted_magnitude"](), options)
    _amount_or_pattern(rule, amount, n_of_m, scope, "output_channel")
    return Rule.from_message(with_parts(rule, options, update=update))


@spelled_out
def ria(
    amount: AmountLike | None = None,
    *,
    n_of_m: NOfMLike | None = None,
    exponent: float = 0.5,
    scope: ScopeName = "output_channel",
    update: UpdateLike | None = None,
    **options: Unpack[DividedOptions],
) -> Rule:
    """Prune the weights of the smallest relative importance times the norm of their input channel to the `exponent`.

    Without statistics it is the relative importance alone. The other arguments are those of `wanda`.

    Source: Zhang et al., "Plug-and-Play: An Efficient Post-training Pruning Method for Large Language Models",
    ICLR 2024.
    Raises: RecipeError for an argument that is out of range or not known.
    Example:
        >>> rules.ria(0.5, exponent=1.0)
        ria(0.5, exponent=1.0)
    """
    score = pb.Score(ria=pb.RelativeImportance())
    if exponent != 0.5:
        score.ria.exponent = exponent
    rule = selecting(score, options)
    _amount_or_pattern(rule, amount, n_of_m, scope, "output_channel")
    return Rule.from_message(with_parts(rule, options, update=update))


@spelled_out
def sparsegpt(
    amount: AmountLike | None = None,
    *,
    n_of_m: NOfMLike | None = None,
    scope: Literal["local", "output_channel"] = "local",
    update: UpdateLike = "sparsegpt",
    **options: Unpack[DividedOptions],
) -> Rule:
    """Prune as SparseGPT does: column by column, each time what costs least, while later columns compensate.

    Needs Gram matrices (`w:in_gram`) or inputs (`w:inputs`). With `update="refit"` the remaining weights are then
    fitted by least squares, which is better still; with `update="none"` only the mask is used. The other arguments are
    those of `wanda`.

    Source: Frantar, Alistarh, "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot",
    arXiv:2301.00774.
    Raises: RecipeError for an argument that is out of range or not known.
    Example:
        >>> rules.sparsegpt(0.5, update='refit')
        sparsegpt(0.5, update='refit')
    """
    rule = selecting(_SCORES["obs"](), options)
    _amount_or_pattern(rule, amount, n_of_m, scope, "local")
    return Rule.from_message(with_parts(rule, options, update=update))


@spelled_out
def alps(
    amount: AmountLike | None = None,
    *,
    n_of_m: NOfMLike | None = None,
    scope: Literal["local", "output_channel"] = "output_channel",
    update: UpdateLike = "refit",
    **options: Unpack[DividedOptions],
) -> Rule:
    """Prune as ALPS does: mask and weights are found together, and the remaining weights are then refitted.

    Needs Gram matrices (`w:in_gram`) or inputs (`w:inputs`). It takes several times as long as `sparsegpt` with a
    refit. With `update="none"` only the mask is used. Swaps would undo what it gains. The other arguments are those of
    `wanda`.

    Source: Meng et al., "ALPS: Improved Optimization for Highly Sparse One-Shot Pruning for Large Language Models",
    arXiv:2406.07831.
    Raises: RecipeError for an argument that is out of range or not known.
    Example:
        >>> rules.alps(0.7)
        alps(0.7)
    """
    rule = selecting(_SCORES["alps"](), options)
    _amount_or_pattern(rule, amount, n_of_m, scope, "output_channel")
    return Rule.from_message(with_parts(rule, options, update=update))


def _amount_or_pattern(
    rule: pb.Rule, amount: AmountLike | None, pattern: NOfMLike | None, scope: str, default_scope: str
) -> None:
    """Set how much is pruned: an amount and what competes, or N:M. Raises: RecipeError for both or neither."""
    if pattern is None:
        if amount is None:
            raise recipe_error(Reason.INVALID_RECIPE, "amount", "an amount or n_of_m is required")
        ranking(rule, amount, scope)
        if scope == default_scope:  # the score's own
            rule.ClearField("scope")
        return
    if amount is not None:
        amount_of(amount)
        raise recipe_error(Reason.INVALID_RECIPE, "amount", "n_of_m says how much is pruned; leave one of them out")
    if scope != default_scope:
        raise recipe_error(Reason.INVALID_RECIPE, "scope", "n_of_m says which weights compete; leave scope out")
    n, m = pair(pattern, "granularity.n_of_m", "n and m, such as (2, 4)")
    n_of_m_pattern(rule, n, m)
