"""`prune methods`: print the methods, outputs and limits of a server."""

import textwrap
from argparse import ArgumentParser, Namespace

from pruning_client.cli.answer import Answer
from pruning_client.cli.arguments import add_json
from pruning_client.cli.server_options import add_server_options
from pruning_client.cli.service import open_service
from pruning_client.cli.tables import bytes_text, terminal_width
from pruning_client.results.capabilities import Capabilities


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    add_server_options(parser, without="those of this installation are printed")
    add_json(parser)


def run(options: Namespace) -> Answer:
    """Ask the server. Raises: PruningError, UsageError."""
    with open_service(options) as service:
        capabilities = service.capabilities()
    return Answer(capabilities.to_dict(), _text(capabilities, terminal_width()))


def _text(capabilities: Capabilities, width: int | None) -> str:
    limits = capabilities.limits
    kernels = f", {capabilities.kernels} kernels" if capabilities.kernels else ""
    lines = [f"pruning server {capabilities.version} on {', '.join(capabilities.devices)}{kernels}", ""]
    for method in capabilities.methods:
        lines += [method.name, *_indented(method.description, width)]
        if method.parameters:
            lines += _indented(f"takes {', '.join(method.parameters)}", width)
    for channel_map in capabilities.maps:
        lines += [f"map {channel_map.name}", *_indented(channel_map.description, width)]
        if channel_map.parameters:
            lines += _indented(f"requires {', '.join(channel_map.parameters)}", width)
    lines += [
        "",
        f"results  {', '.join(capabilities.outputs)}{_packed_with(capabilities)}",
        f"dtypes   {', '.join(capabilities.prunable_dtypes)}",
        f"limits   memory {bytes_text(limits.memory_bytes)}, header {bytes_text(limits.header_bytes)}, "
        f"{limits.tensors:,} tensors, {limits.rules} rules; {limits.calls:,} calls at once",
    ]
    if capabilities.jobs is not None:
        jobs = capabilities.jobs
        memory = f"memory of each {bytes_text(jobs.memory_bytes)}"
        lines.append(f"jobs     {jobs.jobs} at once, {memory}, stores {', '.join(jobs.schemes)}")
    return "\n".join(lines)


def _packed_with(capabilities: Capabilities) -> str:
    return f"; packed also with {', '.join(capabilities.compressions)}" if capabilities.compressions else ""


def _indented(text: str, width: int | None) -> list[str]:
    return textwrap.wrap(text, width or 10_000, initial_indent="    ", subsequent_indent="    ")
