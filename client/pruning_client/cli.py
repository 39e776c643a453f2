"""The command line `prune`: run, apply, inspect, methods, serve. Results go to stdout, all else to stderr.

Exit status: 0 done, 1 failure, 2 the request, a path or the file makes no sense, 130 interrupted.
"""

import json
import os
import shutil
import signal
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from io import TextIOWrapper
from typing import Any, Final, NoReturn

from pruning_client import complaints, display
from pruning_client.apply_file import apply_file
from pruning_client.arguments import UsageError, parse, rules_of
from pruning_client.connecting import check_local, connect
from pruning_client.embedded import check_installed, embedded_server
from pruning_client.errors import PruningError, UnavailableError
from pruning_client.exchange import Watcher, is_random, recipe_of
from pruning_client.inspection import inspect_file
from pruning_client.source import FileSource
from pruning_client.sync import Client
from pruning_client.terminal import printable
from pruning_proto.v1.pruning_pb2 import Recipe

INTERRUPTED: Final = 130
TERMINATED: Final = 143


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a command found: for machines, and for people."""

    value: dict[str, Any]
    text: str


def main(words: Sequence[str] | None = None) -> int:
    """Run one command, by default the process's own; give the exit status."""
    if words is None:
        words = sys.argv[1:]
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # so that what was begun is cleaned up
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # a terminal's encoding may lack a name's letters
    as_json = words[:1] != ["serve"] and "--json" in words  # also for words that cannot be parsed
    try:
        options = _options(words)
        _print(_COMMANDS[options.command](options), as_json=as_json)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return complaints.FAILED
    except (PruningError, OSError, UsageError) as error:
        sys.stderr.write((complaints.as_json(error) if as_json else complaints.as_text(error)) + "\n")
        return complaints.status(error)
    return 0


def _options(words: Sequence[str]) -> Namespace:
    if words[:1] == ["serve"]:
        return Namespace(command="serve", words=words[1:])  # the server's options are its own
    return parse(words)


def _run(options: Namespace) -> _Answer:
    recipe = recipe_of(rules_of(options), options.seed)
    _check_out(options)
    FileSource(options.source)  # a file that is not sound is refused before a server is started for it
    with _client(options) as client:
        if options.plan:
            plan = client.plan(options.source, recipe)
            return _Answer(plan.to_dict(), display.plan_text(plan, _width()))
        return _prune(client, recipe, options)


def _check_out(options: Namespace) -> None:
    dry = "--plan" if options.plan else "--dry-run" if options.dry_run else None
    if dry is None and options.out is None:
        raise UsageError("-o OUT.safetensors is required; or, to write nothing, --plan or --dry-run in its place")
    if dry is not None and options.out is not None:
        raise UsageError(f"{dry} writes nothing; leave out -o")
    if options.plan and options.digests:
        raise UsageError("--plan sends no model; leave out --digests")


def _prune(client: Client, recipe: Recipe, options: Namespace) -> _Answer:
    with _progress(options) as progress:
        if options.dry_run:
            report = client.dry_run(options.source, recipe, digests=options.digests, progress=progress)
        else:
            report = client.prune_file(
                options.source,
                options.out,
                recipe,
                output=options.output,
                digests=options.digests,
                progress=progress,
            )
    written = {} if options.out is None else {"out": str(options.out)}
    text = display.report_text(report, _width(), with_seed=is_random(recipe))
    return _Answer(report.to_dict() | written, "\n".join([text, *(f"wrote {out}" for out in written.values())]))


def _apply(options: Namespace) -> _Answer:
    applied = apply_file(options.model, options.masks, options.out)
    return _Answer(
        applied.to_dict() | {"out": str(options.out)}, f"{display.applied_text(applied)}\nwrote {options.out}"
    )


def _inspect(options: Namespace) -> _Answer:
    found = list(inspect_file(options.file))
    value = {"file": str(options.file), "tensors": [tensor.to_dict() for tensor in found]}
    return _Answer(value, display.zeros_text(found, _width()))


def _methods(options: Namespace) -> _Answer:
    with _client(options) as client:
        capabilities = client.capabilities()
    return _Answer(capabilities.to_dict(), display.capabilities_text(capabilities, _width()))


def _serve(options: Namespace) -> NoReturn:
    """Become the server: the client never imports it."""
    check_installed()
    os.execv(sys.executable, [sys.executable, "-m", "pruning_service", *options.words])  # noqa: S606 - no shell meant


_COMMANDS: Final = {"run": _run, "apply": _apply, "inspect": _inspect, "methods": _methods, "serve": _serve}


@contextmanager
def _client(options: Namespace) -> Iterator[Client]:
    if options.server is not None:
        with connect(options) as client:
            yield client
        return
    check_local(options)
    with embedded_server() as server, Client(server.address, timeout=options.timeout, retries=0) as client:
        try:
            yield client
        except UnavailableError as error:
            obituary = server.obituary()
            if obituary is None:
                raise
            raise obituary from error


def _progress(options: Namespace) -> AbstractContextManager[Watcher | None]:
    watched = sys.stderr.isatty() and not options.json
    return display.progress_bar() if watched else nullcontext()


def _width() -> int | None:
    """Give the columns of the terminal; None where the output is no terminal, and no name is to be shortened."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _print(answer: _Answer, *, as_json: bool) -> None:
    lines = [json.dumps(answer.value, indent=2)] if as_json else map(printable, answer.text.split("\n"))
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
