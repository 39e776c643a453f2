"""The commands, by what they are for."""

from dataclasses import dataclass
from typing import Final

_PRUNE: Final = "prune a model"
_LOOK: Final = "look at models"
_CHANGE: Final = "change a file"
_SERVERS: Final = "servers"
_SHELL: Final = "your shell"


@dataclass(frozen=True, slots=True)
class ListedCommand:
    """A command of the list; `module` of `cli.commands` has its options and carries it out.

    `help` is its line in the list; its own help goes on with `more`.
    """

    purpose: str
    module: str
    help: str
    more: str = ""

    @property
    def description(self) -> str:
        """What its own help says first."""
        return f"{self.help[0].upper()}{self.help[1:]}{self.more}."


COMMANDS: Final = {
    "run": ListedCommand(_PRUNE, "run", "prune a file, or the folder of a Hugging Face model"),
    "scan": ListedCommand(
        _PRUNE,
        "scan",
        "print how sensitive each layer is to pruning",
        ": how much its outputs would change, over sparsity; nothing is pruned",
    ),
    "recipe": ListedCommand(
        _PRUNE,
        "recipe",
        "print the recipe of a rule's options",
        ", or of a recipe file, as YAML for `prune run --recipe`; needs no server",
    ),
    "tokens": ListedCommand(
        _PRUNE, "tokens", "print the token ids that a text needs", ", for `prune run --keep-tokens`; needs no server"
    ),
    "inspect": ListedCommand(
        _LOOK,
        "inspect",
        "print the sparsity of a model",
        ", tensor by tensor, and what was done to it; needs no server",
    ),
    "diff": ListedCommand(
        _LOOK, "diff", "print what differs between two models", ", tensor by tensor; needs no server"
    ),
    "report": ListedCommand(
        _LOOK,
        "report",
        "write a page about a model or a run",
        ", for a browser: of a model, of one before and after, or of a run whose JSON was kept; needs no server",
    ),
    "apply": ListedCommand(
        _CHANGE, "apply", "prune a file with masks", " that `prune run --output mask` wrote; needs no server"
    ),
    "pack": ListedCommand(
        _CHANGE,
        "pack",
        "write a smaller file, without loss",
        ": what is not zero, and one bit per entry; needs no server",
    ),
    "unpack": ListedCommand(_CHANGE, "unpack", "write the file that a packed one was made from", "; needs no server"),
    "convert": ListedCommand(
        _CHANGE,
        "convert",
        "write a file of torch.save as safetensors",
        " (.bin, .pt, .pth); needs torch, and no server",
    ),
    "serve": ListedCommand(_SERVERS, "serve", "run a server", "; its options: prune serve --help"),
    "methods": ListedCommand(_SERVERS, "methods", "print the methods, outputs and limits of a server"),
    "jobs": ListedCommand(_SERVERS, "jobs", "list, show, wait for, cancel and delete jobs", " of a server"),
    "completion": ListedCommand(
        _SHELL, "completion", "print a script that completes commands", " and options, for bash, zsh or fish"
    ),
}
