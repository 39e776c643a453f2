"""Limits of what is counted in a request, checked before any of it is compiled or matched.

Names without wildcards are not counted: they are looked up, not matched. The bytes of the options limit them.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from pruning_proto import limits
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.messages.fields import invalid
from pruning_service.status import Refusal, Violation

_EXPRESSION: Final = "re:"
_WILDCARDS: Final = frozenset("*?[")


def check_names(options: pb.PruneOptions) -> None:
    """Refuse more aliases, input dims and sparsities than a request may have. Raises: Refusal."""
    _check("aliases", len(options.aliases), limits.ALIASES, "aliases")
    aliases = len(options.aliases) + len(options.auxiliary_aliases)
    _check("auxiliary_aliases", aliases, limits.ALIASES, "aliases, those of tensors included,")
    _check("input_dims", len(options.input_dims), limits.INPUT_DIMS, "input dims")
    _check("scan_sparsities", len(options.scan_sparsities), limits.SCAN_SPARSITIES, "sparsities")
    _check("model_type", len(options.model_type.encode()), limits.MODEL_TYPE_BYTES, "bytes")


def check_rules(rules: Sequence[pb.Rule]) -> None:
    """Refuse more rules or patterns than a request may have. Raises: Refusal."""
    _check("recipe.rules", len(rules), limits.RULES, "rules")
    globs = expressions = 0
    for path, pattern in _patterns(rules):
        is_expression = pattern.startswith(_EXPRESSION)
        expressions += is_expression
        globs += not is_expression and not _WILDCARDS.isdisjoint(pattern)
        _check_length(path, pattern)
    _check("recipe.rules", expressions, limits.REGULAR_EXPRESSIONS, "regular expressions (patterns after `re:`)")
    _check("recipe.rules", globs, limits.PATTERNS, "patterns with wildcards")


def expressions(rules: Iterable[pb.Rule]) -> int:
    """Return the number of regular expressions in rules."""
    return sum(pattern.startswith(_EXPRESSION) for _, pattern in _patterns(rules))


def _patterns(rules: Iterable[pb.Rule]) -> Iterator[tuple[str, str]]:
    """Return every pattern of a recipe and its path."""
    for position, rule in enumerate(rules):
        path = f"recipe.rules[{position}]"
        yield from ((f"{path}.select.include[{at}]", pattern) for at, pattern in enumerate(rule.select.include))
        yield from ((f"{path}.select.exclude[{at}]", pattern) for at, pattern in enumerate(rule.select.exclude))
        groups = rule.granularity.units.groups
        yield from (
            (f"{path}.granularity.units.groups[{at}].for_each", group.for_each) for at, group in enumerate(groups)
        )


def _check(path: str, found: int, most: int, what: str) -> None:
    if found > most:
        raise invalid(path, f"at most {most:,} {what} are allowed, got {found:,}")


def _check_length(path: str, pattern: str) -> None:
    if len(pattern) * 4 <= limits.PATTERN_BYTES:  # a character has at most 4 bytes
        return
    found = len(pattern.encode())
    if found > limits.PATTERN_BYTES:
        text = f"a pattern has at most {limits.PATTERN_BYTES:,} bytes, got {found:,}; use several patterns"
        raise Refusal(
            reason=Reason.INVALID_PATTERN,
            message=f"{path}: {text}",
            violations=(Violation(path, text),),
            metadata={"field": path},
        )
