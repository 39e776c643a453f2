"""What the command line suggests where a word is not known."""

import pytest

from pruning_client.cli.arguments import UsageError, parse


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["inspct", "model"], "inspect"),
        (["inspect", "model", "--hsitogram"], "--histogram"),
        (["inspect", "model", "--tpo", "3"], "--top"),
        (["inspect", "model", "--sort", "sparsty"], "sparsity"),
        (["run", "model", "--methd=wanda", "-o", "x"], "--method"),
        (["run", "model", "-o", "x", "--method", "l1_unstructred"], "l1_unstructured"),
        (["run", "model", "-o", "x", "--method", "l1"], "l1_unstructured"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_the_closest_word_is_suggested(words: list[str], meant: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean '{meant}'\\? \\(see: prune"):
        parse(words)


@pytest.mark.parametrize("words", [["zebra"], ["inspect", "model", "--zebra"], ["inspect"]])
def test_nothing_is_suggested_for_what_is_like_nothing(words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse(words)
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "model", "--seed", "x"], "argument --seed: this is a whole number; got 'x' (see: prune run --help)"),
        (["run", "model", "--exponent", "x"], "argument --exponent: this is a number; got 'x' (see: prune run --help)"),
        (["run", "model", "other"], "unrecognized arguments: other (see: prune run --help)"),
        (["jobs", "list", "other"], "unrecognized arguments: other (see: prune jobs --help)"),
    ],
)
def test_errors_refer_to_the_help_of_the_command(words: list[str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(words)
    assert str(caught.value) == said
