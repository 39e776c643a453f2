"""The command line `prune`: run, apply, pack, unpack, inspect, methods, serve. Results to stdout, all else to stderr.

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
from pathlib import Path
from typing import Any, Final, NoReturn

from pruning_client.calls.exchange import Watcher, is_random, recipe_of
from pruning_client.checkpoints.atomic_file import replacing
from pruning_client.checkpoints.file import FileSource
from pruning_client.checkpoints.shards import ShardsSource, is_index
from pruning_client.cli import error_output as complaints
from pruning_client.cli import output as display
from pruning_client.cli.arguments import UsageError, parse, rules_of
from pruning_client.cli.local_server import check_installed, embedded_server
from pruning_client.cli.server_options import check_local, connect
from pruning_client.cli.tables import printable
from pruning_client.clients.sync import Client
from pruning_client.errors import PruningError, UnavailableError
from pruning_client.files.apply_masks import apply_file
from pruning_client.files.inspect import inspect_file
from pruning_client.files.pack import PackedFile, pack_file, unpack_file
from pruning_client.huggingface.folder import FOLDER_OUTPUTS, check_new, is_folder, prune_folder, weights_of
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
    except (PruningError, OSError, UsageError, ImportError) as error:  # ImportError: of what an extra would install
        sys.stderr.write((complaints.as_json(error) if as_json else complaints.as_text(error)) + "\n")
        return complaints.status(error)
    return 0


def _options(words: Sequence[str]) -> Namespace:
    if words[:1] == ["serve"]:
        return Namespace(command="serve", words=words[1:])  # the server's options are its own
    return parse(words)


def _run(options: Namespace) -> _Answer:
    if options.report is None:
        return _ran(options)
    if options.out is not None and options.report.resolve() == options.out.resolve():
        raise UsageError("--report and -o name the same file; give the report one of its own")
    with replacing(options.report) as report:  # refused before the work if it cannot be written
        answer = _ran(options)
        report.write(_json(answer).encode())
    return answer


def _ran(options: Namespace) -> _Answer:
    recipe = recipe_of(rules_of(options), options.seed)
    _check_out(options)
    _check_source(options)
    with _client(options) as client:
        if options.plan:
            plan = client.plan(_weights(options), recipe)
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
    if options.canonical_zero and (dry is not None or options.output != "packed"):
        raise UsageError("--canonical-zero is for --output packed; give that too, or leave it out")


def _check_source(options: Namespace) -> None:
    """Refuse what is not sound, or is there already, before a server is started for it."""
    weights = _weights(options)
    ShardsSource(weights) if is_index(weights) else FileSource(weights)
    if not is_folder(options.source):
        return
    if options.output not in FOLDER_OUTPUTS:
        raise UsageError(f"a folder's result is one that can be loaded: --output {' or '.join(FOLDER_OUTPUTS)}")
    if options.out is not None:
        check_new(options.out)


def _weights(options: Namespace) -> Path:
    """Give the file to send: of a folder, its weights."""
    source: Path = options.source
    return weights_of(source) if is_folder(source) else source


def _prune(client: Client, recipe: Recipe, options: Namespace) -> _Answer:
    with _progress(options) as progress:
        if options.dry_run:
            report = client.dry_run(_weights(options), recipe, digests=options.digests, progress=progress)
        elif is_folder(options.source):
            report = prune_folder(
                client,
                options.source,
                options.out,
                recipe,
                output=options.output,
                digests=options.digests,
                progress=progress,
            )
        else:
            report = client.prune_file(
                options.source,
                options.out,
                recipe,
                output=options.output,
                digests=options.digests,
                canonical_zero=options.canonical_zero,
                progress=progress,
            )
    written = {} if options.out is None else {"out": str(options.out)}
    text = display.report_text(report, _width(), with_seed=is_random(recipe))
    is_packed = options.output == "packed"
    packed = display.packed_lines(report, canonical_zero=options.canonical_zero) if is_packed else []
    wrote = [f"wrote {out}" for out in written.values()]
    return _Answer(report.to_dict() | written, "\n".join([text, *packed, *wrote]))


def _apply(options: Namespace) -> _Answer:
    applied = apply_file(options.model, options.masks, options.out)
    return _Answer(
        applied.to_dict() | {"out": str(options.out)}, f"{display.applied_text(applied)}\nwrote {options.out}"
    )


def _pack(options: Namespace) -> _Answer:
    canonical_zero = options.canonical_zero
    packed = pack_file(options.source, options.out, canonical_zero=canonical_zero)
    return _packed(packed, options, canonical_zero=canonical_zero)


def _unpack(options: Namespace) -> _Answer:
    return _packed(unpack_file(options.source, options.out), options)


def _packed(packed: PackedFile, options: Namespace, *, canonical_zero: bool = False) -> _Answer:
    text = display.packed_text(packed, canonical_zero=canonical_zero)
    return _Answer(packed.to_dict() | {"out": str(options.out)}, f"{text}\nwrote {options.out}")


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


_COMMANDS: Final = {
    "run": _run,
    "apply": _apply,
    "pack": _pack,
    "unpack": _unpack,
    "inspect": _inspect,
    "methods": _methods,
    "serve": _serve,
}


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
            exit_error = server.exit_error()
            if exit_error is None:
                raise
            raise exit_error from error


def _progress(options: Namespace) -> AbstractContextManager[Watcher | None]:
    watched = sys.stderr.isatty() and not options.json
    return display.progress_bar() if watched else nullcontext()


def _width() -> int | None:
    """Give the columns of the terminal; None where the output is no terminal, and no name is to be shortened."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _json(answer: _Answer) -> str:
    return json.dumps(answer.value, indent=2) + "\n"


def _print(answer: _Answer, *, as_json: bool) -> None:
    text = "\n".join(map(printable, answer.text.split("\n"))) + "\n"
    sys.stdout.write(_json(answer) if as_json else text)
    sys.stdout.flush()
