"""The callers of the service's benchmarks: `python -m tests.benchmarks.callers JOB`, see `processes`.

Each kind of job is made ready first (its data, its connection, one small call); what it gives is one call, which gives
its seconds.
"""

import asyncio
import gc
import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from pruning_client import AsyncClient, Client, Rule, rules
from pruning_client.transport.channel import open_channel
from pruning_proto import framing
from pruning_proto.framing import Data
from pruning_proto.limits import CHUNK_BYTES
from pruning_proto.names import PRUNE_PATH
from pruning_proto.safetensors.header import build
from pruning_proto.v1 import pruning_pb2 as pb
from tests.benchmarks.models import Array, model_of, transformer
from tests.benchmarks.processes import Job
from tests.benchmarks.raw_server import ECHO, SINK

FORMS: Final = {"pruned": pb.OUTPUT_FORM_PRUNED, "report": pb.OUTPUT_FORM_REPORT}
SMALL_ENTRIES: Final = 2_500
"""A model of 10 kB."""

Call = Callable[[], float]


def raw_sink(job: Job) -> Call:
    """Send the model's bytes in chunks to a raw sink; return the seconds of sending."""
    chunks = [bytes(chunk) for chunk in chunks_of(transformer())]
    stub: Any = open_channel(job.address).stream_stream(SINK)
    for _ in stub(iter([b"warm"])):
        pass
    return lambda: time_of_sending(stub, chunks)


def raw_echo(job: Job) -> Call:
    """Send the model's bytes to a raw echo; return the seconds of whole calls.

    What comes back is dropped; with `output` "kept" the messages are kept as they are, until all is in.
    """
    chunks = [bytes(chunk) for chunk in chunks_of(model(job))]
    stub: Any = open_channel(job.address).stream_stream(ECHO)

    def call() -> None:
        messages = stub(iter(chunks))
        deque(messages, maxlen=None if job.output == "kept" else 0)

    for _ in stub(iter([b"warm"])):
        pass
    return lambda: seconds_of(call)


def ingest(job: Job) -> Call:
    """Prune by a bare stub that drops what it reads; return the seconds of sending the body."""
    state_dict = transformer()
    stub = open_channel(job.address).stream_stream(PRUNE_PATH, framing.encode, framing.decode_response)
    BareCall({"small.weight": next(iter(model_of(SMALL_ENTRIES).values()))}, job).run(stub)
    return lambda: BareCall(state_dict, job).run(stub)


def prune(job: Job) -> Call:
    """Prune with `Client`; return the seconds of whole calls, as the caller sees them."""
    state_dict, rule = model(job), rule_of(job)
    client = Client(job.address)
    client.prune(model_of(SMALL_ENTRIES), rule)

    def call() -> None:
        client.prune(state_dict, rule, output="mask" if job.output == "mask" else "pruned")

    return lambda: seconds_of(call)


def prune_async(job: Job) -> Call:
    """Do as `prune` does, with `AsyncClient`."""
    state_dict, rule = model(job), rule_of(job)
    runner = asyncio.Runner()

    async def connect() -> AsyncClient:
        client = AsyncClient(job.address)
        await client.prune(model_of(SMALL_ENTRIES), rule)
        return client

    client = runner.run(connect())
    return lambda: seconds_of(lambda: runner.run(client.prune(state_dict, rule)))


def prune_file(job: Job) -> Call:
    """Prune a file into another; return the seconds."""
    client, rule = Client(job.address), rule_of(job)
    client.prune(model_of(SMALL_ENTRIES), rule)
    return lambda: seconds_of(lambda: client.prune_file(job.source, job.target, rule))


KINDS: Final[dict[str, Callable[[Job], Call]]] = {
    kind.__name__: kind for kind in (raw_sink, raw_echo, ingest, prune, prune_async, prune_file)
}


class BareCall:
    """A Prune call by the contract alone: what it reads is dropped, and the sending of the body is timed.

    From when gRPC asks for the first chunk of the body to when it has passed on the last one and asks for more.
    """

    def __init__(self, state_dict: dict[str, Array], job: Job) -> None:
        described = ((name, "F32", tensor.shape) for name, tensor in state_dict.items())
        self._header, layout = build(described, {})
        recipe = pb.Recipe(rules=[rule_of(job).to_message()])
        self._options = pb.PruneOptions(recipe=recipe, output=FORMS[job.output], total_bytes=layout.total_bytes)
        self._chunks = chunks_of(state_dict)
        self._plan_came = threading.Event()
        self._seconds = 0.0

    def run(self, stub: Any) -> float:
        """Carry it out; return the seconds of sending."""
        for message in stub(self._requests()):
            if isinstance(message, pb.PruneResponse) and message.HasField("plan") and message.plan.last:
                self._plan_came.set()
        return self._seconds

    def _requests(self) -> Iterator[pb.PruneRequest | Data]:
        yield pb.PruneRequest(options=self._options)
        yield self._header
        self._plan_came.wait()
        begin = time.perf_counter()
        yield from self._chunks
        self._seconds = time.perf_counter() - begin


def time_of_sending(stub: Any, chunks: list[bytes]) -> float:
    """Send chunks and wait for the answer; return the seconds of sending, as `BareCall` counts them."""
    seconds = 0.0

    def requests() -> Iterator[bytes]:
        nonlocal seconds
        begin = time.perf_counter()
        yield from chunks
        seconds = time.perf_counter() - begin

    for _ in stub(requests()):
        pass
    return seconds


def model(job: Job) -> dict[str, Array]:
    """Return the model that a job is about: its entries, else the transformer."""
    return model_of(job.entries) if job.entries else transformer()


def rule_of(job: Job) -> Rule:
    """Return L1 at 50 % in the job's scope."""
    return rules.l1_unstructured(0.5, scope="global" if job.scope == "global" else "local")


def chunks_of(state_dict: dict[str, Array]) -> list[memoryview]:
    """Cut a model's buffer as our client does; its tensors are larger than a chunk or few."""
    views = (tensor.reshape(-1).view("u1").data for tensor in state_dict.values())
    return [view[begin : begin + CHUNK_BYTES] for view in views for begin in range(0, len(view), CHUNK_BYTES)]


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long `work` takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def repeat(call: Call, job: Job) -> list[float]:
    """Call as often, or as long, as the job says; return how long each took."""
    if not job.seconds:
        return [call() for _ in range(job.calls)]
    end = time.perf_counter() + job.seconds
    each = []
    while time.perf_counter() < end:
        each.append(call())
    return each


def main(arguments: Sequence[str]) -> None:
    """Make ready, say so, and go at each line."""
    job = Job(**json.loads(arguments[0]))
    call = KINDS[job.kind](job)
    gc.collect()
    gc.freeze()  # else walking what the imports made is part of some calls and not of others
    _say("ready")
    for _ in sys.stdin:
        _say(json.dumps(repeat(call, job)))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
