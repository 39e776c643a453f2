"""Completion in the real shells: what they offer after a few letters, with the script that the command prints."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import pytest

from pruning_client.cli.commands.completion import SHELLS
from pruning_client.cli.main import run

PRUNE: Final = (sys.executable, "-m", "pruning_client")
LIMIT_SECONDS: Final = 60

CASES: Final = [
    pytest.param("prune insp", {"inspect"}, id="a command"),
    pytest.param("prune run x --metho", {"--method"}, id="an option"),
    pytest.param("prune run x --method l1_", {"l1_unstructured"}, id="a value"),
    pytest.param("prune jobs ca", {"cancel"}, id="a verb"),
    pytest.param("prune jobs wait --fo", {"--for"}, id="an option of a verb"),
    pytest.param("prune run x --statistics sta", {"statistics.safetensors"}, id="a file"),
    pytest.param("prune inspect sta", {"statistics.safetensors"}, id="an argument"),
    pytest.param("prune completion ", set(SHELLS), id="all values"),
    pytest.param("prune serve --drain-s", {"--drain-seconds"}, id="an option of the server"),
]


@pytest.mark.parametrize("shell", SHELLS)
def test_script_names_all_commands(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(word in script for word in ("inspect", "completion", "canonical-zero", "drain-seconds"))


def test_other_shells_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", "zhs"]) == 2
    assert "did you mean 'zsh'?" in capsys.readouterr().err


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts, and a file whose name can be completed."""
    folder = tmp_path_factory.mktemp("completion")
    for shell in SHELLS:
        script = subprocess.run([*PRUNE, "completion", shell], capture_output=True, text=True, check=True).stdout
        (folder / ("_prune" if shell == "zsh" else f"prune.{shell}")).write_text(script)
    (folder / "statistics.safetensors").touch()
    return folder


def shell(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed; .ci/packages installs it")
    return path


@pytest.mark.integration
@pytest.mark.parametrize(("line", "offered"), CASES)
def test_bash_completes(folder: Path, line: str, offered: set[str]) -> None:
    script = """
        source prune.bash
        IFS=' ' read -ra COMP_WORDS <<< "$1"; [[ $1 == *' ' ]] && COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
        "$(complete -p prune | sed 's/.*-F //; s/ .*//')" 2>/dev/null
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    command = [shell("bash"), "--norc", "-c", script, "bash", line]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == offered


@pytest.mark.integration
@pytest.mark.parametrize(("line", "offered"), CASES)
def test_fish_completes(folder: Path, line: str, offered: set[str]) -> None:
    command = [shell("fish"), "--no-config", "-c", 'source prune.fish; complete -C "$argv[1]"', line]
    environment = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    assert {text.partition("\t")[0] for text in done.stdout.splitlines() if text.strip()} == offered


@pytest.mark.integration
@pytest.mark.parametrize(("line", "offered"), CASES)
def test_zsh_completes(folder: Path, line: str, offered: set[str]) -> None:
    shown = typed_in_zsh(shell("zsh"), folder, line)
    assert all(word in shown for word in offered)


def typed_in_zsh(zsh: str, folder: Path, line: str) -> str:
    """What a terminal shows of zsh after a line and Tab, twice for a list; zsh completes only where one types."""
    controller, terminal = pty.openpty()
    environment = {"TERM": "dumb", "HOME": str(folder), "PATH": os.environ["PATH"], "COLUMNS": "200", "LANG": "C.UTF-8"}
    begin = (
        "unsetopt prompt_cr prompt_sp; fpath=($PWD $fpath); autoload -U compinit; compinit -u -D; "
        "zstyle ':completion:*' insert-tab false; PS1='read%{%}y> '\n"  # false: a Tab is one also where more follows
    )
    process = subprocess.Popen(
        [zsh, "-f", "-i"],
        cwd=folder,
        env=environment,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    try:
        os.write(controller, begin.encode())
        read_until(controller, "ready> ")  # which the line editor prints: it reads what comes now
        os.write(controller, f"{line}\t\t".encode())
        os.write(controller, b"\x15echo en''d\n")  # Ctrl-U empties the line: the next begins after all completions
        return read_until(controller, "\nend").rpartition("''d")[0]
    finally:
        process.kill()
        process.wait()
        os.close(controller)


def read_until(descriptor: int, word: str) -> str:
    """What is read until a word comes."""
    text, deadline = "", time.monotonic() + LIMIT_SECONDS
    while word not in text.replace("\r", ""):
        assert select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0], text
        text += os.read(descriptor, 4096).decode(errors="replace")
    return text.replace("\r", "")
