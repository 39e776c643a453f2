"""What was done to a model, as lines for people: one for each rule of each round."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def history_lines(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the rounds, the oldest first; one line says that there are none."""
    if not history:
        return ["no history of pruning by this service in the file"]
    return [line for number, each in enumerate(history, 1) for line in _round_lines(number, each)]


def _round_lines(number: int, each: Mapping[str, Any]) -> Iterator[str]:
    seed = f", seed {each['recipe']['seed']}" if "seed" in each["recipe"] else ""
    for rule in each["recipe"]["rules"]:
        yield f"round {number}, version {each['version']}: {_rule_text(rule)}{seed}"


def _rule_text(rule: Mapping[str, Any]) -> str:
    parts = [str(rule["method"])]
    for key, value in rule.items():
        if key == "amount":
            parts += [_amount_text(kind, number) for kind, number in value.items()]
        elif key == "groups":
            parts.append(f"{len(value)} channel group{'s' * (len(value) != 1)}")
        elif key != "method":
            parts.append(f"{key} {' '.join(map(str, value)) if isinstance(value, list) else value}")
    return ", ".join(parts)


def _amount_text(kind: str, number: Any) -> str:
    if kind == "count":
        return f"amount {number} (a count)"
    if kind == "fraction":
        return f"amount {number} (a fraction)"
    return f"{kind} {number}" + (" of each group" if kind == "kept" else "")
