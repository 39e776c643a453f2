"""What was done to a model, in words."""

import pytest

from pruning_client.models.history_text import history_lines


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ({"fraction": 0.5}, "amount 0.5 (a fraction)"),
        ({"count": "3"}, "amount 3 (a count)"),
        ({"sparsity": 0.9}, "sparsity 0.9"),
        ({"kept": "4"}, "kept 4 of each group"),
    ],
)
def test_amounts_are_named(amount: dict[str, object], text: str) -> None:
    rule = {"method": "remove_units", "amount": amount, "scope": "local"}
    assert history_lines([{"version": "1.0", "recipe": {"rules": [rule]}}]) == [
        f"round 1, version 1.0: remove_units, {text}, scope local"
    ]
