"""What a finished call returned, and what the verbs of a client make of it."""

from dataclasses import dataclass

from pruning_client.calls.renumbered import result_names
from pruning_client.calls.request import PruneRequestSpec
from pruning_client.checkpoints.file import Source
from pruning_client.errors import ProtocolError
from pruning_client.results.plan import Plan
from pruning_client.results.report import Report
from pruning_client.results.result import Result
from pruning_proto.safetensors.header import Layout


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a finished call returned. `header` and `layout` are the result's; None for formats without a file."""

    plan: Plan
    report: Report | None
    header: bytes
    layout: Layout | None


def result_of(request: PruneRequestSpec, outcome: Outcome, buffer: memoryview) -> Result:
    """Return the result of a call whose bytes are in `buffer`. Raises: ProtocolError if there is none."""
    if outcome.layout is None:
        raise ProtocolError("the call ended well, but without a result")
    source = request.source
    names, aliases = _names_in_result(source, outcome.plan)
    return Result(
        plan=outcome.plan,
        report=whole_report(request, outcome),
        header=outcome.header,
        layout=outcome.layout,
        buffer=buffer,
        aliases=aliases,
        names=names,
        framework=source.framework,
    )


def _names_in_result(source: Source, plan: Plan) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the caller's names, and the names of tied tensors, as they are after tensors were renumbered.

    Tied tensors themselves are never renumbered: a server refuses that.
    """
    new = result_names(plan, (entry.name for entry in source.layout.tensors))
    names = [new.get(name, name) for name in source.names if name in new or name in source.aliases]
    aliases = {alias: new[name] for alias, name in source.aliases.items() if name in new}
    return tuple(names), aliases


def whole_report(request: PruneRequestSpec, outcome: Outcome) -> Report:
    """Return the report of a call, with this client's warnings. Raises: ProtocolError if there is none."""
    if outcome.report is None:
        raise ProtocolError("the call ended well, but without the report")
    return outcome.report.with_warnings(*request.warnings)
