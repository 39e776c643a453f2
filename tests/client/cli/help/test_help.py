"""What `--help` says: commands by purpose, options in titled groups, examples, in the width of the terminal."""

import argparse
from collections.abc import Iterator

import pytest

from pruning_client.cli.arguments import whole_parser
from pruning_client.cli.help.examples import EXAMPLES
from pruning_client.cli.help.listed_commands import COMMANDS
from pruning_client.cli.help.parser import Parser
from pruning_client.cli.main import run

NARROW = 50


def parsers(parser: argparse.ArgumentParser) -> Iterator[Parser]:
    """A parser and those of its commands; the server's own is none of ours."""
    assert isinstance(parser, Parser)
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, each in action.choices.items():
                if name != "serve":
                    yield from parsers(each)


PARSERS = list(parsers(whole_parser()))
OF_COMMANDS = [parser for parser in PARSERS if parser.examples]


def test_commands_are_listed_by_purpose(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        run(["--help"])
    lines = capsys.readouterr().out.splitlines()
    places = [lines.index(f"{purpose}:") for purpose in dict.fromkeys(command.purpose for command in COMMANDS.values())]
    assert places == sorted(places)
    for name, command in COMMANDS.items():
        line = next(number for number, text in enumerate(lines) if text.split()[:1] == [name])
        assert max(place for place in places if place < line) == lines.index(f"{command.purpose}:")
        assert lines[line].endswith(command.help)


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.prog)
def test_help_fits_a_narrow_terminal(parser: Parser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(NARROW))
    too_long = [line for line in parser.format_help().splitlines() if len(line) > NARROW]
    assert [line for line in too_long if " " in line.strip().removesuffix("\\").strip()] == []


@pytest.mark.parametrize("parser", OF_COMMANDS, ids=lambda parser: parser.prog)
def test_options_are_in_titled_groups(parser: Parser) -> None:
    *_, (title, others) = parser.sections()
    assert title in ("options", "other options")
    assert [option for action in others for option in action.option_strings] == ["-h", "--help"]


@pytest.mark.parametrize("parser", OF_COMMANDS, ids=lambda parser: parser.prog)
def test_help_ends_with_two_examples(parser: Parser) -> None:
    examples = EXAMPLES[parser.examples]
    assert len(examples) >= 2
    assert all(parser.prog in example.line for example in examples)
    shown = parser.format_help().partition("\nexamples:\n")[2]
    assert " ".join(shown.replace("\\\n", " ").split()).count(f"{parser.prog} ") >= 2


def test_every_example_is_of_a_command() -> None:
    assert set(EXAMPLES) == {parser.examples for parser in OF_COMMANDS}


def test_usage_names_what_must_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    usages = {parser.prog: parser.format_help().partition("\n\n")[0] for parser in PARSERS}
    assert usages["prune apply"] == (
        "usage: prune apply [options] MODEL.safetensors MASKS.safetensors\n    -o OUT.safetensors"
    )
    assert usages["prune run"] == "usage: prune run [options] IN.safetensors [-o OUT.safetensors]"
    assert usages["prune jobs wait"] == "usage: prune jobs wait [options] NAME"
