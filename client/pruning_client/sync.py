# ruff: noqa: PLR0913 - what a caller may ask is by keyword, one each
"""The client: `Client`, a thin shell around `exchange`. No torch, no numpy; their tensors are met in `frameworks`."""

from collections.abc import Callable
from os import PathLike
from types import TracebackType
from typing import Final, Self, TypeAlias

import grpc

from pruning_client import timeouts
from pruning_client.atomic import replacing
from pruning_client.capabilities import Capabilities, capabilities_of
from pruning_client.channel import open_channel
from pruning_client.errors import ProtocolError
from pruning_client.exchange import ALLOWANCE_SECONDS, Exchange, Outcome, Rules, recipe_of
from pruning_client.failures import from_status
from pruning_client.outputs import Output, form_of
from pruning_client.plan import Plan
from pruning_client.report import Report
from pruning_client.result import Result
from pruning_client.source import FileSource
from pruning_client.state_dicts import StateDict, StateDictSource
from pruning_client.stream import Watcher, converse
from pruning_proto.framing import Data, decode_response, encode
from pruning_proto.layout import Layout
from pruning_proto.v1 import pruning_pb2 as pb

Path: TypeAlias = str | PathLike[str]

_SERVICE: Final = "/pruning.v1.PruningService"


class Client:
    """A pruning server, reached over gRPC. One may be used by many threads.

    `target` is "HOST:PORT" or "unix:/PATH"; it is connected to when first used. `timeout` is the seconds that each call
    may take, unless the call says otherwise, inf for no end; None allows 30 s and one more for every 10 MB of the
    model.

    Raises (every call): PruningError, see `errors` for its tree; OSError for files. TypeError or ValueError for what is
    no state dict, path, rule or timeout at all, and after `close`.
    Example:
        with Client("localhost:50051") as client:
            result = client.prune(model.state_dict(), rules.l1_unstructured(0.5))
        model.load_state_dict(result.state_dict)
    """

    def __init__(self, target: str, *, timeout: float | None = None) -> None:
        self._target = target
        self._timeout = timeout if timeout is None else timeouts.check(timeout)
        self._is_closed = False
        self._channel = open_channel(target)
        self._prune = self._channel.stream_stream(f"{_SERVICE}/Prune", encode, decode_response)
        self._get_capabilities = self._channel.unary_unary(
            f"{_SERVICE}/GetCapabilities",
            pb.GetCapabilitiesRequest.SerializeToString,
            pb.GetCapabilitiesResponse.FromString,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection; calls that run are cancelled."""
        self._is_closed = True
        self._channel.close()

    def prune(
        self,
        source: StateDict | Path,
        rules: Rules,
        *,
        output: Output = "pruned",
        seed: int | None = None,
        importance_scores: StateDict | None = None,
        masks: StateDict | None = None,
        progress: Watcher | None = None,
        timeout: float | None = None,
    ) -> Result:
        """Prune a state dict, or a safetensors file, into memory.

        `importance_scores` and `masks` map parameter names to tensors of the same shape, for rules with
        `importance_scores=True` and `custom_from_mask`. Prior masks go in the state dict, as `w:mask_bits` of an
        earlier result or as torch's `w_orig` and `w_mask`. `seed` replaces the recipe's; without either one is
        drawn if a rule is random, and the report tells it.
        """
        opened = _source(source, importance_scores, masks)
        exchange = Exchange(opened, recipe_of(rules, seed), form_of(output))
        buffer = bytearray()
        outcome = self._run(exchange, buffer.extend, progress, timeout)
        report, layout = _with_file(outcome)
        del buffer[: layout.header_bytes]
        return Result(
            plan=outcome.plan,
            report=report,
            header=outcome.header,
            layout=layout,
            buffer=buffer,
            aliases=opened.aliases,
            names=opened.names,
            framework=opened.framework if isinstance(opened, StateDictSource) else None,
        )

    def prune_file(
        self,
        source: Path,
        target: Path,
        rules: Rules,
        *,
        output: Output = "pruned",
        seed: int | None = None,
        progress: Watcher | None = None,
        timeout: float | None = None,
    ) -> Report:
        """Prune a safetensors file into another, in little memory; `target` may be `source`.

        The target is written whole or not at all: on any failure it is as it was.
        """
        exchange = Exchange(FileSource(source), recipe_of(rules, seed), form_of(output))
        with replacing(target) as file:
            outcome = self._run(exchange, file.write, progress, timeout)
            report, _ = _with_file(outcome)
        return report

    def dry_run(
        self,
        source: StateDict | Path,
        rules: Rules,
        *,
        seed: int | None = None,
        importance_scores: StateDict | None = None,
        masks: StateDict | None = None,
        progress: Watcher | None = None,
        timeout: float | None = None,
    ) -> Report:
        """Give the report that `prune` would give, without its result: the model is sent and read."""
        opened = _source(source, importance_scores, masks)
        exchange = Exchange(opened, recipe_of(rules, seed), pb.OUTPUT_FORM_REPORT)
        outcome = self._run(exchange, _refuse, progress, timeout)
        if outcome.report is None:
            raise ProtocolError("the call ended well, but without the report")
        return outcome.report

    def plan(
        self,
        source: StateDict | Path,
        rules: Rules,
        *,
        seed: int | None = None,
        importance_scores: StateDict | None = None,
        masks: StateDict | None = None,
        timeout: float | None = None,
    ) -> Plan:
        """Give what `prune` would do and cost: which rules select which tensors. Only the header is sent."""
        opened = _source(source, importance_scores, masks)
        exchange = Exchange(opened, recipe_of(rules, seed), pb.OUTPUT_FORM_PLAN)
        return self._run(exchange, _refuse, None, timeout).plan

    def capabilities(self, *, timeout: float | None = None) -> Capabilities:
        """Give what the server offers: methods, forms, dtypes, limits, devices, versions."""
        seconds = self._deadline(timeout, ALLOWANCE_SECONDS)
        try:
            response = self._get_capabilities(pb.GetCapabilitiesRequest(), timeout=seconds)
        except grpc.RpcError as error:
            raise from_status(error, self._target) from error
        return capabilities_of(response)

    def _run(
        self, exchange: Exchange, write: Callable[[Data], object], progress: Watcher | None, timeout: float | None
    ) -> Outcome:
        seconds = self._deadline(timeout, exchange.default_timeout)
        try:
            converse(self._prune, exchange, write, seconds, progress)
        except grpc.RpcError as error:
            raise from_status(error, self._target, exchange.sent_bytes if exchange.is_answered else None) from error
        return exchange.finish()

    def _deadline(self, timeout: float | None, default: float) -> float | None:
        if self._is_closed:
            raise ValueError(f"this client of {self._target} is closed; make a new one")
        return timeouts.deadline(timeout, self._timeout, default)


def _source(
    source: StateDict | Path, importance_scores: StateDict | None, masks: StateDict | None
) -> FileSource | StateDictSource:
    if not isinstance(source, str | PathLike):
        return StateDictSource(source, importance_scores, masks)
    if importance_scores or masks:
        raise ValueError("a file brings its scores and masks along, as `w:scores` and `w:mask` beside `w`")
    return FileSource(source)


def _with_file(outcome: Outcome) -> tuple[Report, Layout]:
    if outcome.report is None or outcome.layout is None:
        raise ProtocolError("the call ended well, but without a result")
    return outcome.report, outcome.layout


def _refuse(data: Data) -> None:
    """Take the bytes of a result that was not asked for; `Exchange` refuses them before they come here."""
    raise ProtocolError(f"the server sent {len(data)} bytes of a result that was not asked for")
