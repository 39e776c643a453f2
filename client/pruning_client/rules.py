# ruff: noqa: PLR0913 - a builder has torch's parameters and the parts of a Rule, each by keyword
"""Builders of rules, under the names of `torch.nn.utils.prune`; what they build is `pruning.v1.Rule`.

    rules.l1_unstructured(0.5, scope="global", exclude=["classifier.*"])

`amount` has torch's meaning: a float is a part of what is still unpruned, an int a number of weights; and
`sparsity(0.9)` prunes until that part of all weights is pruned. torch's `global_unstructured` is `scope="global"`.

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

import math
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from os import PathLike
from typing import Any, Final, Literal, TypeAlias, TypeVar

from pruning_client.errors import is_text, recipe_error
from pruning_client.recipes.amounts import AmountLike as AmountLike  # noqa: PLC0414 - a name of this module
from pruning_client.recipes.amounts import amount_of, sparsity
from pruning_client.recipes.channel_groups import group, tie
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb

__all__ = [
    "custom_from_mask",
    "dump_recipe",
    "group",
    "identity",
    "installed_method",
    "l1_unstructured",
    "ln_structured",
    "load_recipe",
    "n_of_m",
    "random_structured",
    "random_unstructured",
    "remove_dead",
    "remove_random",
    "remove_units",
    "sparsity",
    "tie",
    "weighted_magnitude",
]

Patterns: TypeAlias = str | Iterable[str]
ScopeName: TypeAlias = Literal["local", "global"]
PriorName: TypeAlias = Literal["history", "mask", "zeros"]
ScoreName: TypeAlias = Literal["magnitude", "random", "importance_scores", "weighted_magnitude"]
NormLike: TypeAlias = float | int | Literal["fro", "nuc"]
Groups: TypeAlias = pb.Group | Iterable[pb.Group]

_T = TypeVar("_T")

_SCOPES: Final = {"local": pb.SCOPE_LOCAL, "global": pb.SCOPE_GLOBAL}
_PRIORS: Final = {"history": pb.PRIOR_UNSPECIFIED, "mask": pb.PRIOR_MASK, "zeros": pb.PRIOR_ZEROS}
_NAMED_NORMS: Final = {"fro": pb.NAMED_NORM_FRO, "nuc": pb.NAMED_NORM_NUC}


def identity(*, include: Patterns = (), exclude: Patterns = (), prior: PriorName = "history") -> pb.Rule:
    """Prune nothing, but count as selected: output format "masked" gives these tensors a mask."""
    return _rule(pb.Score(identity=pb.Identity()), include, exclude, prior)


def custom_from_mask(*, include: Patterns = (), exclude: Patterns = (), prior: PriorName = "history") -> pb.Rule:
    """Prune where the masks that are sent are 0: `masks=` of `Client.prune`, or `w:mask` beside `w` in a file."""
    return _rule(pb.Score(custom_mask=pb.CustomMask()), include, exclude, prior)


def random_unstructured(
    amount: AmountLike,
    *,
    include: Patterns = (),
    exclude: Patterns = (),
    scope: ScopeName = "local",
    prior: PriorName = "history",
) -> pb.Rule:
    """Prune weights at random, from the recipe's seed."""
    score = pb.Score(random=pb.RandomScore())
    return _ranking(_rule(score, include, exclude, prior), amount, scope)


def l1_unstructured(
    amount: AmountLike,
    *,
    include: Patterns = (),
    exclude: Patterns = (),
    scope: ScopeName = "local",
    prior: PriorName = "history",
    importance_scores: bool = False,
) -> pb.Rule:
    """Prune the weights of the smallest magnitude."""
    score = _score(None, scope, importance_scores)
    return _ranking(_rule(score, include, exclude, prior), amount, scope)


def random_structured(
    amount: AmountLike,
    dim: int = 0,
    *,
    include: Patterns = (),
    exclude: Patterns = (),
    scope: ScopeName = "local",
    prior: PriorName = "history",
) -> pb.Rule:
    """Prune channels along `dim` at random, from the recipe's seed."""
    score = pb.Score(random=pb.RandomScore())
    return _channels(_ranking(_rule(score, include, exclude, prior), amount, scope), dim)


def ln_structured(
    amount: AmountLike,
    n: NormLike = 2,
    dim: int = 0,
    *,
    include: Patterns = (),
    exclude: Patterns = (),
    scope: ScopeName = "local",
    prior: PriorName = "history",
    importance_scores: bool = False,
) -> pb.Rule:
    """Prune the channels along `dim` of the smallest Ln norm; `n` is any of torch's: a number, "fro" or "nuc".

    Dim 0 are the outputs of Linear and Conv layers. ConvTranspose layers and GPT-2's Conv1D have them along dim 1; the
    plan and the report warn of a rule that takes their inputs.
    """
    score = _score(n, scope, importance_scores)
    return _channels(_ranking(_rule(score, include, exclude, prior), amount, scope), dim)


def weighted_magnitude(
    amount: AmountLike,
    dim: int = 1,
    *,
    include: Patterns = (),
    exclude: Patterns = (),
    prior: PriorName = "history",
) -> pb.Rule:
    """Prune, in each output channel, the weights of the smallest |w| times the norm of their input channel.

    The norms are sent as `w:in_norm` beside `w`, in the state dict or in the file: one number per input channel, such
    as the L2 norm of that channel's inputs over a calibration set. `dim` is the dim of the input channels. `amount`
    applies to each output channel.

    Source: Sun et al., "A Simple and Effective Pruning Approach for Large Language Models" (Wanda), arXiv:2306.11695.
    """
    rule = _rule(_weighted(dim), include, exclude, prior)
    rule.amount.CopyFrom(amount_of(amount))
    return rule


def n_of_m(
    n: int,
    m: int,
    *,
    score: ScoreName = "magnitude",
    dim: int = 1,
    include: Patterns = (),
    exclude: Patterns = (),
    prior: PriorName = "history",
) -> pb.Rule:
    """Keep the `n` most important of each `m` consecutive weights along the last dim: 2:4 is `n_of_m(2, 4)`.

    `score` says what is important: "magnitude", "random", "importance_scores" (the scores that are sent) or
    "weighted_magnitude" (see there; `dim` is for this score).
    """
    return _n_of_m(_rule(_n_of_m_score(score, dim), include, exclude, prior), n, m)


def remove_units(
    amount: AmountLike,
    n: NormLike = 2,
    *,
    groups: Groups = (),
    map: str = "",  # noqa: A002 - the contract's word
    head_dim: int | None = None,
    scope: ScopeName = "local",
    round_to: int = 1,
    same_width: bool = False,
    prior: PriorName = "history",
    importance_scores: bool = False,
) -> pb.Rule:
    """Prune the units of the smallest Ln norm, over all tensors of their group; at least one of each group is kept.

    `groups` are built by `group`, `map` is a name that `Client.capabilities` lists; with both, they are added.
    `head_dim` is for maps that need it. The number of kept units is rounded up to a multiple of `round_to`; with
    `same_width` all groups of one pattern keep as many as the one that keeps most, so that one number describes them.
    """
    score = _score(n, "local", importance_scores)
    rule = _ranking(_rule(score, (), (), prior), amount, scope)
    return _units(rule, groups, map, head_dim, round_to, same_width)


def remove_random(
    amount: AmountLike,
    *,
    groups: Groups = (),
    map: str = "",  # noqa: A002 - the contract's word
    head_dim: int | None = None,
    scope: ScopeName = "local",
    round_to: int = 1,
    same_width: bool = False,
    prior: PriorName = "history",
) -> pb.Rule:
    """Prune units at random, from the recipe's seed."""
    rule = _ranking(_rule(pb.Score(random=pb.RandomScore()), (), (), prior), amount, scope)
    return _units(rule, groups, map, head_dim, round_to, same_width)


def remove_dead(
    *,
    groups: Groups = (),
    map: str = "",  # noqa: A002 - the contract's word
    head_dim: int | None = None,
    round_to: int = 1,
    same_width: bool = False,
    prior: PriorName = "history",
) -> pb.Rule:
    """Prune the units whose weights are all zero or pruned, running statistics aside; the model's output stays."""
    return _units(_rule(pb.Score(dead=pb.Dead()), (), (), prior), groups, map, head_dim, round_to, same_width)


def installed_method(
    name: str,
    arguments: Mapping[str, float | int | str | bool] | None = None,
    *,
    include: Patterns = (),
    exclude: Patterns = (),
    prior: PriorName = "history",
) -> pb.Rule:
    """Prune by a method that is installed on the server, by its name there; `Client.capabilities` lists them.

    `arguments` are those of its constructor, by name: an amount of 1 is not an amount of 1.0.
    """
    messages = {key: _argument(value) for key, value in (arguments or {}).items()}
    score = pb.Score(method=pb.CustomMethod(name=name, arguments=messages))
    return _rule(score, include, exclude, prior)


def load_recipe(path: str | PathLike[str]) -> pb.Recipe:
    """Read a recipe from a YAML file: rules as methods with arguments, or as the JSON mapping of `pruning.v1.Rule`.

    Raises: OSError if it cannot be read. RecipeError if it is not a recipe; its text has the path of the field.
    """
    from pruning_client.recipes import yaml_file  # noqa: PLC0415 - imports yaml only for those who read a file

    return yaml_file.load(path, _BUILDERS)


def dump_recipe(recipe: pb.Recipe) -> str:
    """Return a recipe as the text of a file that `load_recipe` reads: each rule as a method with its arguments."""
    from pruning_client.recipes import yaml_file  # noqa: PLC0415 - imports yaml only for those who write a file

    return yaml_file.dump(recipe, _BUILDERS)


def recipe_content(recipe: pb.Recipe) -> dict[str, Any]:
    """Return what `dump_recipe` writes, as JSON can represent it; the seed of 64 bits is text."""
    from pruning_client.recipes.content import json_of  # noqa: PLC0415 - for the command line's reports only

    return json_of(recipe, _BUILDERS)


def _argument(value: float | int | str | bool) -> pb.Argument:
    if isinstance(value, bool):  # before int, which it also is
        return pb.Argument(flag=value)
    if isinstance(value, int):
        return pb.Argument(integer=value)
    return pb.Argument(number=value) if isinstance(value, float) else pb.Argument(text=value)


def _rule(score: pb.Score, include: Patterns, exclude: Patterns, prior: str) -> pb.Rule:
    rule = pb.Rule(score=score, prior=_choice(_PRIORS, prior, "prior"))
    patterns, exceptions = _patterns(include, "include"), _patterns(exclude, "exclude")
    if patterns or exceptions:
        rule.select.CopyFrom(pb.Selector(include=patterns, exclude=exceptions))
    return rule


def _ranking(rule: pb.Rule, amount: AmountLike, scope: str) -> pb.Rule:
    rule.amount.CopyFrom(amount_of(amount))
    rule.scope = _choice(_SCOPES, scope, "scope")
    return rule


def _channels(rule: pb.Rule, dim: int) -> pb.Rule:
    rule.granularity.channels.dim = _dim(dim, "granularity.channels.dim")
    return rule


def _dim(dim: int, field: str) -> int:
    if not isinstance(dim, Integral) or not -(2**31) <= dim < 2**31:
        raise recipe_error(Reason.INVALID_RECIPE, field, f"a dim is an integer of 32 bits, got {dim!r}")
    return int(dim)


def _units(  # noqa: PLR0917 - the parts of a message
    rule: pb.Rule, groups: Groups, name: str, head_dim: int | None, round_to: int, same_width: bool
) -> pb.Rule:
    all_groups = [groups] if isinstance(groups, pb.Group) else list(groups)
    if not all_groups and not name:
        description = "name the coupled channels: groups, built by `rules.group`, or the name of a map"
        raise recipe_error(Reason.INVALID_RECIPE, "granularity.units", description)
    units = pb.Units(groups=all_groups, map=name, same_width=same_width)
    if head_dim is not None:
        units.head_dim = _at_least_one(head_dim, "head_dim", 2**64)
    if round_to != 1:
        units.round_to = _at_least_one(round_to, "round_to", 2**32)
    rule.granularity.units.CopyFrom(units)
    return rule


def _at_least_one(value: int, field: str, end: int) -> int:
    if not isinstance(value, Integral) or not 1 <= value < end:
        description = f"this is an integer, 1 to {end - 1}, got {value!r}"
        raise recipe_error(Reason.INVALID_RECIPE, f"granularity.units.{field}", description)
    return int(value)


def _n_of_m(rule: pb.Rule, n: int, m: int) -> pb.Rule:
    """Set the pattern; the largest m is the server's to decide."""
    if not isinstance(m, Integral) or not 2 <= m < 2**32:
        description = f"the entries of a group are an integer of 2 or more, got {m!r}"
        raise recipe_error(Reason.INVALID_RECIPE, "granularity.n_of_m.m", description)
    if not isinstance(n, Integral) or not 1 <= n < m:
        description = f"the kept entries of a group of {m} are 1 to {m - 1}, got {n!r}"
        raise recipe_error(Reason.INVALID_RECIPE, "granularity.n_of_m.n", description)
    rule.granularity.n_of_m.n, rule.granularity.n_of_m.m = int(n), int(m)
    return rule


def _n_of_m_score(name: str, dim: int) -> pb.Score:
    score = _choice(_SCORES, name, "score")(dim)
    if dim != 1 and not score.HasField("weighted_magnitude"):
        description = f"a dim is for score 'weighted_magnitude', got score {name!r}; leave out dim"
        raise recipe_error(Reason.INVALID_RECIPE, "score.weighted_magnitude.dim", description)
    return score


def _weighted(dim: int) -> pb.Score:
    weighted = pb.WeightedMagnitude()
    if dim != 1:
        weighted.dim = _dim(dim, "score.weighted_magnitude.dim")
    return pb.Score(weighted_magnitude=weighted)


def _score(norm: NormLike | None, scope: str, importance_scores: bool) -> pb.Score:
    if importance_scores:
        scores = pb.ImportanceScores(fall_back_to_weights=scope == "global")
        if norm is not None:
            scores.norm.CopyFrom(_norm(norm, "score.importance_scores.norm"))
        return pb.Score(importance_scores=scores)
    magnitude = pb.Magnitude()
    if norm is not None:
        magnitude.norm.CopyFrom(_norm(norm, "score.magnitude.norm"))
    return pb.Score(magnitude=magnitude)


def _norm(norm: NormLike, field: str) -> pb.Norm:
    if isinstance(norm, str):
        if norm not in _NAMED_NORMS:
            raise recipe_error(Reason.INVALID_NORM, field, f'a norm is a number, "fro" or "nuc", got {norm!r}')
        return pb.Norm(named=_NAMED_NORMS[norm])
    if not isinstance(norm, Real) or math.isnan(norm):
        raise recipe_error(Reason.INVALID_NORM, f"{field}.p", f"p is a number, also 0 and infinity, got {norm!r}")
    return pb.Norm(p=float(norm))


def _patterns(patterns: Patterns, field: str) -> list[str]:
    several = [patterns] if isinstance(patterns, str) else list(patterns)
    if not all(isinstance(pattern, str) for pattern in several):
        raise recipe_error(Reason.INVALID_PATTERN, f"select.{field}", f"patterns are strings, got {several!r}")
    if not all(is_text(pattern) for pattern in several):
        raise recipe_error(Reason.INVALID_PATTERN, f"select.{field}", f"patterns are Unicode text, got {several!r}")
    return several


def _choice(choices: Mapping[str, _T], name: str, field: str) -> _T:
    if name not in choices:
        allowed = " or ".join(repr(choice) for choice in choices)
        raise recipe_error(Reason.INVALID_RECIPE, field, f"this is {allowed}, got {name!r}")
    return choices[name]


_SCORES: Final[Mapping[str, Callable[[int], pb.Score]]] = {
    "magnitude": lambda _: pb.Score(magnitude=pb.Magnitude()),
    "random": lambda _: pb.Score(random=pb.RandomScore()),
    "importance_scores": lambda _: pb.Score(importance_scores=pb.ImportanceScores()),
    "weighted_magnitude": _weighted,
}
"""Scores of single weights, each made with the dim of the input channels."""

_BUILDERS: Final[Mapping[str, Callable[..., pb.Rule]]] = {
    builder.__name__: builder
    for builder in (
        *(identity, random_unstructured, l1_unstructured, random_structured, ln_structured, weighted_magnitude),
        *(n_of_m, custom_from_mask, remove_units, remove_random, remove_dead, installed_method),
    )
}
"""What a recipe file may name as a rule's method."""
