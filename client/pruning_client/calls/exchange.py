"""One attempt of a Prune call without its network: what to send, and what to make of what comes.

The clients are shells around it. A shell sends `opening()`, then `body()`, after the plan if `waits_for_plan`; and at
the same time hands every message that comes to `receive`, and writes the bytes that this gives to the result. When the
call has ended it asks `finish`.
The rule: nothing counts before the whole plan, the whole result and the whole report have come, and then OK.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from numbers import Integral
from typing import Final, TypeAlias

from pruning_client.calls.digests import Digests
from pruning_client.checkpoints.file import Source
from pruning_client.errors import ProtocolError, PruningError, recipe_error
from pruning_client.errors.from_server import from_failure
from pruning_client.results.plan import Plan, plan_of
from pruning_client.results.report import Report, report_of
from pruning_proto.formats import BY_NUMBER
from pruning_proto.framing import Data
from pruning_proto.limits import CHUNK_BYTES, MIB
from pruning_proto.reasons import Reason
from pruning_proto.safetensors.header import PREFIX_BYTES, Layout, LayoutError, json_bytes, parse
from pruning_proto.v1 import pruning_pb2 as pb

Rules: TypeAlias = pb.Rule | Sequence[pb.Rule] | pb.Recipe
"""What a caller may ask: one rule, several in order, or a recipe."""

OutputForm: TypeAlias = "pb.OutputForm"

WAIT_BYTES: Final = 4 * MIB
"""Files larger than this wait for the plan: a refusal then costs the header and not the model."""

LONG_HEADER_BYTES: Final = 64 * 1024
"""Of the header of a model of several hundred tensors."""

ALLOWANCE_SECONDS: Final = 30.0
ALLOWANCE_BYTES_PER_SECOND: Final = 10 * 1000 * 1000

_LARGEST_SEED: Final = 2**64 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneRequestSpec:
    """What a caller asks, and of which model: the same for every attempt, its seed too."""

    source: Source
    recipe: pb.Recipe
    output: OutputForm
    digests: bool = False
    canonical_zero: bool = False

    @property
    def default_timeout(self) -> float:
        """Seconds that the call may take where nobody said: generous for a model of this size on a slow line."""
        return ALLOWANCE_SECONDS + self.source.layout.total_bytes / ALLOWANCE_BYTES_PER_SECOND


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a finished call gave. `header` and `layout` are the result's; None for forms without one."""

    plan: Plan
    report: Report | None
    header: bytes
    layout: Layout | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a call has come.

    Units: bytes; `result_bytes` is None until the plan tells it (or the result's header, where no plan can), and where
    there is no result. `attempt` counts from 1; each begins anew.
    """

    sent_bytes: int
    total_bytes: int
    received_bytes: int
    result_bytes: int | None
    attempt: int = 1


Watcher: TypeAlias = Callable[[Progress], object]
"""Is told about progress: by `Client` from threads of its own, one at a time; by `AsyncClient` from the event loop."""


class Exchange:
    """The state of one attempt of a call. `sent_bytes` and `received_bytes` count the model and the result.

    `is_answered`: whether anything came at all. `failure` is what the server told as the reason of its refusal; from
    then on nothing more is to be sent.
    """

    def __init__(self, asked: PruneRequestSpec, attempt: int = 1) -> None:
        source = asked.source
        self._source = source
        self._format = BY_NUMBER[asked.output]
        self._attempt = attempt
        self._options = pb.PruneOptions(
            recipe=asked.recipe,
            output=asked.output,
            total_bytes=source.layout.total_bytes,
            aliases=source.aliases,
            digests=asked.digests,
            canonical_zero=asked.canonical_zero,
        )
        self._plans: list[pb.Plan] = []
        self._reports: list[pb.Report] = []
        self._result = _ResultHeader()
        self._digests = Digests() if asked.digests else None
        self.plan: Plan | None = None
        self.failure: PruningError | None = None
        self.is_answered = False
        self.sent_bytes = 0
        self.received_bytes = 0

    @property
    def total_bytes(self) -> int:
        """Bytes to send in all."""
        return self._source.layout.total_bytes

    @property
    def progress(self) -> Progress:
        """How far the call has come."""
        return Progress(
            sent_bytes=self.sent_bytes,
            total_bytes=self.total_bytes,
            received_bytes=self.received_bytes,
            result_bytes=self._result_bytes,
            attempt=self._attempt,
        )

    @property
    def _result_bytes(self) -> int | None:
        if self.plan is not None and self.plan.result_bytes is not None:
            return self.plan.result_bytes
        return None if self.result_layout is None else self.result_layout.total_bytes

    @property
    def result_layout(self) -> Layout | None:
        """What the header of the result says; None before it has come."""
        return self._result.layout

    @property
    def waits_for_plan(self) -> bool:
        """Whether the body is to be sent only when `plan` is there."""
        return self.total_bytes > WAIT_BYTES

    @property
    def is_long(self) -> bool:
        """Whether there are so many tensors that to read plan, header and report takes more than a few milliseconds."""
        return len(self._source.header) > LONG_HEADER_BYTES

    def takes_long(self, message: pb.PruneResponse | memoryview) -> bool:
        """Whether `receive` is nothing for an event loop: it reads a long plan or header, or takes a digest."""
        if isinstance(message, memoryview):
            return self._digests is not None or (self.is_long and self.result_layout is None)
        return self.is_long and message.HasField("plan")

    def opening(self) -> Iterator[pb.PruneRequest | Data]:
        """Give the messages that come first: the options, and the header if the rest does not follow at once."""
        yield pb.PruneRequest(options=self._options)
        if self._sends_header_first:
            yield from self._data([memoryview(self._source.header)])

    def body(self) -> Iterator[Data]:
        """Give the messages of what is left of the file; none where only a plan is asked.

        Each is to be sent, or copied, before the next is asked for.
        """
        if not self._sends_header_first:  # in one message with what follows
            yield from self._data(chain([memoryview(self._source.header)], self._source.pieces()))
        elif self._format.takes_weights:
            yield from self._data(self._source.pieces())

    @property
    def _sends_header_first(self) -> bool:
        return self.waits_for_plan or not self._format.takes_weights

    def _data(self, pieces: Iterable[memoryview]) -> Iterator[Data]:
        data = chunks(pieces, CHUNK_BYTES)
        return data if self._digests is None else self._digests.sending(data)

    def sent(self, count: int) -> None:
        """Take note of so many bytes of the model that were sent."""
        self.sent_bytes += count

    def receive(self, message: pb.PruneResponse | memoryview) -> memoryview | None:
        """Take one message; give the bytes of the result that it holds, if any.

        Raises: ProtocolError if it breaks the order of the stream.
        """
        self.is_answered = True
        if isinstance(message, memoryview):
            return self._receive_data(message)
        kind = message.WhichOneof("message")
        if kind == "plan":
            self._receive_plan(message.plan)
        elif kind == "report":
            self._receive_report(message.report)
        elif kind == "failure":
            self.failure = from_failure(message.failure)
        return None  # progress is a sign of life; what a newer server adds is none of this call's business

    def _receive_plan(self, plan: pb.Plan) -> None:
        if self.plan is not None:
            raise _out_of_order("a plan after the last one")
        self._plans.append(plan)
        if plan.last:
            self.plan = plan_of(self._plans)

    def _receive_data(self, data: memoryview) -> memoryview:
        if self.plan is None:
            raise _out_of_order("data before the plan")
        if self._reports or not self._format.has_file:
            raise _out_of_order("data where none belongs")
        self.received_bytes += len(data)
        self._result.add(data)
        self._check_size(self.plan)
        if self._digests is not None:
            self._digests.received(data)
        return data

    def _check_size(self, plan: Plan) -> None:
        """Refuse a result before there is room made for it, and one that does not end."""
        layout = self._result.layout
        if layout is None:
            return
        announced = layout.total_bytes if plan.result_bytes is None else plan.result_bytes
        if layout.total_bytes != announced:
            raise ProtocolError(
                f"the result's header describes {layout.total_bytes:,} bytes, the plan announced {announced:,}",
                reason=Reason.TOTAL_BYTES_MISMATCH,
            )
        if self.received_bytes > layout.total_bytes:
            raise _out_of_order(f"more than the {layout.total_bytes:,} bytes that the result's header describes")

    def _receive_report(self, report: pb.Report) -> None:
        if self.plan is None or (self._reports and self._reports[-1].last):
            raise _out_of_order("a report before the plan or after the last one")
        self._reports.append(report)

    def finish(self) -> Outcome:
        """Give what the call gave, once it has ended with OK.

        Raises: PruningError that the server told. ProtocolError if something is missing.
        """
        if self.failure is not None:
            raise self.failure
        if self.plan is None:
            raise _incomplete("the plan")
        if not self._format.takes_weights:
            return Outcome(self.plan, None, b"", None)
        if not self._reports or not self._reports[-1].last:
            raise _incomplete("the report")
        report = report_of(self._reports)
        header, layout = self._whole_result() if self._format.has_file else (b"", None)
        if self._digests is not None:
            self._digests.check(report, has_result=layout is not None)
        return Outcome(self.plan, report, header, layout)

    def _whole_result(self) -> tuple[bytes, Layout]:
        layout = self._result.layout
        if layout is None:
            raise _incomplete("the result's header")
        if self.received_bytes < layout.total_bytes:
            raise _incomplete(
                f"the whole result ({self.received_bytes:,} bytes came; its header describes {layout.total_bytes:,})"
            )
        return self._result.header, layout


class _ResultHeader:
    """The header of the result, gathered from chunks that are cut anywhere."""

    def __init__(self) -> None:
        self._gathered = bytearray()
        self.header = b""
        self.layout: Layout | None = None

    def add(self, data: memoryview) -> None:
        if self.layout is not None:
            return
        self._gathered += data
        try:
            self._parse()
        except LayoutError as error:
            raise ProtocolError(f"the server's result is no sound safetensors file: {error}") from error

    def _parse(self) -> None:
        if len(self._gathered) < PREFIX_BYTES:
            return
        end = PREFIX_BYTES + json_bytes(self._gathered[:PREFIX_BYTES])
        if len(self._gathered) >= end:
            self.header = bytes(self._gathered[:end])
            self.layout = parse(self.header[PREFIX_BYTES:])
            self._gathered.clear()


def recipe_of(rules: Rules, seed: int | None) -> pb.Recipe:
    """Give the recipe of what a caller asks, with the seed given, else the recipe's.

    Without either one is drawn here if a rule is random, so that sending the same again gives the same.
    Raises: RecipeError if there is no rule, or if the seed is no integer of 64 bits. TypeError if these are no rules.
    """
    recipe = pb.Recipe()
    if isinstance(rules, pb.Recipe):
        recipe.CopyFrom(rules)
    else:
        recipe.rules.extend(_several(rules))
    if not recipe.rules:
        raise recipe_error(Reason.INVALID_RECIPE, "recipe.rules", "a recipe needs at least one rule")
    if seed is not None:
        recipe.seed = _seed(seed)
    elif is_random(recipe) and not recipe.HasField("seed"):
        recipe.seed = secrets.randbits(64)
    return recipe


def is_random(recipe: pb.Recipe) -> bool:
    """Whether any rule is, so that the seed matters."""
    return any(rule.score.WhichOneof("kind") == "random" for rule in recipe.rules)


def _several(rules: pb.Rule | Iterable[pb.Rule]) -> list[pb.Rule]:
    given: list[object] = [rules] if isinstance(rules, pb.Rule | str) or not isinstance(rules, Iterable) else [*rules]
    several = [rule for rule in given if isinstance(rule, pb.Rule)]
    if len(several) < len(given):
        raise TypeError(
            "rules are one Rule, several in order, or a Recipe: `pruning_client.rules` builds them, and "
            f"`rules.load_recipe(path)` reads a file; got {rules!r}"
        )
    return several


def _seed(seed: int) -> int:
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise recipe_error(Reason.INVALID_RECIPE, "recipe.seed", f"a seed is an integer, got {seed!r}")
    if not 0 <= seed <= _LARGEST_SEED:
        raise recipe_error(Reason.INVALID_RECIPE, "recipe.seed", f"a seed is 0 to 2^64 - 1, got {seed}")
    return int(seed)


def model_bytes(message: pb.PruneRequest | Data) -> int:
    """Give how many bytes of the model a message holds."""
    return 0 if isinstance(message, pb.PruneRequest) else len(message)


def chunks(pieces: Iterable[memoryview], size: int) -> Iterator[Data]:
    """Cut what is larger than `size`, and gather what is smaller: a model may have many thousand small tensors.

    Only what is gathered is copied. A chunk may be larger by half: a small rest does not go as a message of its own.
    """
    gathered = bytearray()
    for piece in pieces:
        if gathered and len(gathered) + len(piece) > size:
            yield gathered
            gathered = bytearray()
        if len(piece) < size:
            gathered += piece
        else:
            yield from _cut(piece, size)
    if gathered:
        yield gathered


def _cut(piece: memoryview, size: int) -> Iterator[memoryview]:
    begin = 0
    while len(piece) - begin > size + size // 2:
        yield piece[begin : begin + size]
        begin += size
    yield piece[begin:]


def _out_of_order(what: str) -> ProtocolError:
    return ProtocolError(f"the server sent {what}", reason=Reason.UNEXPECTED_MESSAGE)


def _incomplete(what: str) -> ProtocolError:
    return ProtocolError(f"the call ended well, but without {what}", reason=Reason.TRUNCATED)
