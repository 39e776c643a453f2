"""What a person should look at in a result: tensors that are nearly empty, and zeros that counted as weights."""

from collections.abc import Iterator, Sequence
from typing import Final

from pruning_engine.planning.plan import PlannedParameter
from pruning_engine.recipe import Count, Entries, Fraction, Prior, Rule, Scope
from pruning_engine.report import ModelWarning, TensorReport, WarningKind, nearly_empty

_MANY_ZEROS: Final = 0.05
"""Of the selected weights: more than a trained model has by chance."""


def warnings_about(
    rules: Sequence[Rule], parameters: Sequence[PlannedParameter], reports: Sequence[TensorReport]
) -> Iterator[ModelWarning]:
    """Yield the warnings about selected parameters and their reports, one after the other."""
    yield from _of_statistics(reports)
    yield from nearly_empty(reports, frozenset(_competing(rules, parameters)))
    yield from _nothing_pruned(rules, reports)
    yield from map(_zero_lengths, (report for report in reports if report.zero_lengths))
    counted = [
        report
        for planned, report in zip(parameters, reports, strict=True)
        if any(_prunes_zeros_again(rules[position], planned) for position in planned.rules)
    ]
    zeros = sum(report.zeros_before - report.pruned_before for report in counted if report.zeros_before is not None)
    entries = sum(report.entries for report in counted)
    if zeros > _MANY_ZEROS * entries:
        yield ModelWarning(
            kind=WarningKind.ZEROS_NOT_PRUNED,
            tensor=None,
            message=f"{zeros:,} of {entries:,} selected weights ({zeros / entries:.2%}) were zero already and counted "
            "as unpruned, so that the same ones may have been pruned again; with prior `zeros` they count as pruned, "
            "with prior `mask` this is not mentioned",
        )


def _competing(rules: Sequence[Rule], parameters: Sequence[PlannedParameter]) -> Iterator[str]:
    """Yield the names of the parameters that a rule of global scope ranks together with others."""
    for planned in parameters:
        if any(rules[position].scope is Scope.GLOBAL for position in planned.rules):
            yield planned.name


def _of_statistics(reports: Sequence[TensorReport]) -> Iterator[ModelWarning]:
    """Yield a warning for each tensor whose statistics were too few, or not a positive definite matrix."""
    for report in reports:
        if report.has_grown_damping:
            yield ModelWarning(
                kind=WarningKind.DAMPING_INCREASED,
                tensor=report.name,
                message=f"the Gram matrix of {report.name!r} could not be factored with the damping that was asked "
                f"for; {report.damping:g} times the mean of its diagonal was added: send statistics of more tokens, in "
                f"fp64, or ask for more damping",
            )
        if report.has_few_tokens:
            yield ModelWarning(
                kind=WarningKind.FEW_TOKENS,
                tensor=report.name,
                message=f"the statistics of {report.name!r} have fewer tokens than it has inputs, so that an update "
                f"fits noise: send 3 to 8 tokens for each input",
            )


def _nothing_pruned(rules: Sequence[Rule], reports: Sequence[TensorReport]) -> Iterator[ModelWarning]:
    """Yield a warning if fractions rounded to nothing in every tensor, although there was something to prune."""
    fractions = [rule.amount.value for rule in rules if isinstance(rule.amount, Fraction) and rule.amount.value > 0]
    left = sum(report.entries - report.pruned_before for report in reports)
    is_scan = any(report.curve for report in reports)
    if fractions and left and not is_scan and all(report.pruned <= report.pruned_before for report in reports):
        yield ModelWarning(
            kind=WarningKind.NOTHING_PRUNED,
            tensor=None,
            message=f"nothing was pruned: a fraction of {max(fractions):g} rounds to no weight or channel wherever it "
            "applies; ask for more, or for a count",
        )


def _zero_lengths(report: TensorReport) -> ModelWarning:
    count = report.zero_lengths
    return ModelWarning(
        kind=WarningKind.WEIGHT_NORM,
        tensor=report.name,
        message=f"{report.name!r} is weight-normed, and {count:,} of its channels {'is' if count == 1 else 'are'} all "
        "zero: the model divides them by their length 0, which gives NaN; prune less, exclude it, or save the model "
        "without the norm (torch.nn.utils.remove_weight_norm, or torch.nn.utils.parametrize.remove_parametrizations)",
    )


def _prunes_zeros_again(rule: Rule, planned: PlannedParameter) -> bool:
    """Whether a rule prunes a number of single weights, zeros among them, without having been told to."""
    is_amount_of_rest = isinstance(rule.amount, Fraction | Count) and isinstance(rule.granularity, Entries)
    return is_amount_of_rest and rule.prior is Prior.HISTORY and not planned.counts_zeros(rule)
