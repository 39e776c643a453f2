"""Examples for the help of each command. Tests run all of them, on small files and with a real server."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_INDENT: Final = "  "
_CONTINUED: Final = " \\"


@dataclass(frozen=True, slots=True)
class Example:
    """A line for a shell, and what it does."""

    does: str
    line: str


EXAMPLES: Final[Mapping[str, Sequence[Example]]] = {
    "run": (
        Example(
            "the smallest half of the weights of all layers",
            "prune run model.safetensors -o pruned.safetensors --method l1_unstructured --amount 50% --global",
        ),
        Example(
            "a smaller model: half of the channels of each MLP removed",
            "prune run bert -o smaller --output removed --map bert_ffn --amount 50%",
        ),
        Example(
            "the best method that statistics of the inputs allow",
            "prune run model.safetensors -o pruned.safetensors --method auto --amount 50% "
            "--statistics statistics.safetensors",
        ),
        Example(
            "what a recipe would prune, as a server plans it",
            "prune run model.safetensors --recipe recipe.yaml --plan --server localhost:50051",
        ),
        Example(
            "a job: the server reads from a store and writes into it",
            "prune run s3://models/bert -o s3://models/bert-half --method l1_unstructured --amount 50% "
            "--server localhost:50051 --name nightly --detach",
        ),
    ),
    "scan": (
        Example(
            "by the weights alone, of the ten largest tensors",
            "prune scan model.safetensors --method l1_unstructured --top 10",
        ),
        Example(
            "by statistics of the inputs, with the weights updated",
            "prune scan model.safetensors --method wanda --update refit --statistics statistics.safetensors "
            "--sparsities 50%,60%,70%",
        ),
    ),
    "recipe": (
        Example(
            "a recipe to keep, and to run again",
            "prune recipe --method l1_unstructured --amount 50% --global > recipe.yaml",
        ),
        Example("2 of each 4 consecutive weights, as JSON", "prune recipe --n-of-m 2:4 --json"),
    ),
    "tokens": (
        Example("the ids of a text, into a file", "prune tokens bert --text text.txt -o ids.txt"),
        Example("and some more, on standard output", "prune tokens bert --text text.txt --keep 0-4"),
    ),
    "inspect": (
        Example("the ten sparsest tensors", "prune inspect pruned.safetensors --sort sparsity --top 10"),
        Example("a folder, with the distribution of each |w|", "prune inspect bert --histogram"),
    ),
    "diff": (
        Example("what changed the most", "prune diff model.safetensors pruned.safetensors --top 10"),
        Example(
            "for a script: exit with 1 if a tensor differs",
            "prune diff model.safetensors model.safetensors --exit-code --json",
        ),
    ),
    "report": (
        Example("a model before and after", "prune report model.safetensors pruned.safetensors -o report.html"),
        Example("a run whose --report was kept; add A and B for more", "prune report report.json -o report.html"),
    ),
    "apply": (
        Example("into a new file", "prune apply model.safetensors masks.safetensors -o pruned.safetensors"),
        Example("in place", "prune apply model.safetensors masks.safetensors -o model.safetensors --force"),
    ),
    "pack": (
        Example("zeros take one bit each", "prune pack pruned.safetensors -o packed.safetensors"),
        Example(
            "the smallest: -0.0 becomes +0.0, compressed with zstd",
            "prune pack pruned.safetensors -o packed.safetensors --canonical-zero --zstd",
        ),
    ),
    "unpack": (
        Example("into a new file", "prune unpack packed.safetensors -o dense.safetensors"),
        Example("into a pipe", "prune unpack packed.safetensors -o - | sha256sum"),
    ),
    "convert": (
        Example("a checkpoint", "prune convert pytorch_model.bin -o converted.safetensors"),
        Example(
            "and replace the result of an earlier time",
            "prune convert pytorch_model.bin -o model.safetensors --force",
        ),
    ),
    "methods": (
        Example("of a server", "prune methods --server localhost:50051"),
        Example("of this installation, as JSON", "prune methods --json"),
    ),
    "jobs": (
        Example("which are under way", "prune jobs list --server localhost:50051"),
        Example("wait for one", "prune jobs wait nightly --server localhost:50051"),
    ),
    "jobs list": (
        Example("those that are under way", "prune jobs list --server localhost:50051"),
        Example("all that the store knows, as JSON", "prune jobs list --all --json --server localhost:50051"),
    ),
    "jobs show": (
        Example("one job", "prune jobs show nightly --server localhost:50051"),
        Example("its report, for a page", "prune jobs show nightly --json --server localhost:50051 > job.json"),
    ),
    "jobs wait": (
        Example("until it is done", "prune jobs wait nightly --server localhost:50051"),
        Example("ten minutes at most, as JSON", "prune jobs wait nightly --for 600 --json --server localhost:50051"),
    ),
    "jobs cancel": (
        Example("one job", "prune jobs cancel nightly --server localhost:50051"),
        Example(
            "and see what has become of it",
            "prune jobs cancel nightly --server localhost:50051 && prune jobs show nightly --server localhost:50051",
        ),
    ),
    "jobs delete": (
        Example("a job that is done", "prune jobs delete nightly --server localhost:50051"),
        Example("the same, for a program", "prune jobs delete nightly --json --server localhost:50051"),
    ),
    "completion": (
        Example("bash: for this shell; put the line into ~/.bashrc for all", "source <(prune completion bash)"),
        Example("zsh: into a folder of $fpath", "prune completion zsh > _prune"),
        Example("fish: such as ~/.config/fish/completions", "prune completion fish > prune.fish"),
    ),
}
"""The examples of each command, and of each verb of `prune jobs`."""

FIRST: Final = ("run", "inspect", "diff", "report")
"""The commands whose first examples `prune --help` shows."""


def examples_text(command: str, width: int) -> str:
    """Return the examples of a command; those of a newcomer for no command; nothing where there are none."""
    shown = EXAMPLES.get(command, ()) if command else [EXAMPLES[name][0] for name in FIRST]
    if not shown:
        return ""
    more = "" if command else f"\n{_INDENT}prune COMMAND --help has more\n"
    return f"\nexamples:\n{''.join(_lines(example, width) for example in shown)}{more}"


def _lines(example: Example, width: int) -> str:
    comment = "".join(f"{_INDENT}{line}\n" for line in filled(f"# {example.does}".split(), width - 2, "# "))
    return comment + "".join(f"{_INDENT}{line}\n" for line in _continued(example.line.split(), width - 2))


def filled(words: Sequence[str], width: int, begin: str) -> list[str]:
    """Return lines of words, up to a width; `begin` begins all but the first."""
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) > width:
            lines.append(f"{begin}{word}")
        else:
            lines[-1] += f" {word}"
    return lines


def _continued(words: Sequence[str], width: int) -> list[str]:
    """Return a line, broken where a shell reads on: before an option, as far as it fits."""
    lines = [words[0]]
    for phrase in _phrases(words[1:]):
        if len(lines[-1]) + 1 + len(phrase) + len(_CONTINUED) > width:
            lines.append(f"    {phrase}")
        else:
            lines[-1] += f" {phrase}"
    return [f"{line}{_CONTINUED}" for line in lines[:-1]] + lines[-1:]


def _phrases(words: Sequence[str]) -> list[str]:
    """Return words that are kept in one line: an option and its value."""
    phrases: list[str] = []
    for word in words:
        if phrases and phrases[-1].startswith("-") and " " not in phrases[-1] and not word.startswith("-"):
            phrases[-1] += f" {word}"
        else:
            phrases.append(word)
    return phrases
