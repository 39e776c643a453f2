"""A call as a server runs it: a task beside the messages that it sends, which can be ended from outside.

Two halves: the task receives, prunes and fills the response stream; `responses` yields what is in it. Neither waits for
the other beyond what the streams allow.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import ExitStack

from pruning_engine.runtime.clear_in_steps import clear_in_steps
from pruning_proto.framing import Data
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.calls.call_streams import EarlyEnd
from pruning_service.calls.prune_call import CallResources, PruneCall
from pruning_service.deadlines import HEARTBEAT_SECONDS
from pruning_service.resources.process_memory import trim
from pruning_service.streams.request_stream import RequestStream
from pruning_service.streams.response_stream import ResponseStream


class ServedCall:
    """One call and its streams. It is one of `running` from its beginning until all of its memory is freed."""

    def __init__(
        self,
        requests: RequestStream,
        responses: ResponseStream,
        end: EarlyEnd,
        request_id: str,
        resources: CallResources,
    ) -> None:
        self.call = PruneCall(requests, responses, end, request_id, resources)
        self.requests = requests
        self.stream = responses
        self._reserved = ExitStack()
        self._reservation = self._reserved.enter_context(resources.budget.reservation())

    async def responses(
        self, running: "set[ServedCall]", greeting: Awaitable[None]
    ) -> AsyncGenerator[pb.PruneResponse | Data, None]:
        """Run the call and yield what it sends, after `greeting`, which begins the reply."""
        running.add(self)
        task = asyncio.create_task(self.call.run_within(self._reservation))
        task.add_done_callback(self._stop_sending)
        try:
            await greeting
            async for message in self.stream.messages(HEARTBEAT_SECONDS):
                yield self._progress() if message is None else message
            await task
        finally:
            task.add_done_callback(lambda done: self._release(done, running))
            task.cancel()
            self.requests.close()

    def _stop_sending(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is not None or self.call.refusal is not None:
            self.stream.drop()
        self.stream.close()

    def _release(self, task: asyncio.Task[None], running: "set[ServedCall]") -> None:
        """Free what the call was made of, now that nothing else refers to it, off the event loop if that is much.

        Until then it stays reserved, and the call is under way.
        """
        described: list[object] = [self.call.request, _taken_error(task)]
        self.call.request = None
        if not self.call.parts and not self._reservation.kept_bytes:
            self._leave(running)
            return
        try:
            freeing = task.get_loop().run_in_executor(None, _free, self.call.parts, described)
        except RuntimeError:  # no thread can be started
            _free(self.call.parts, described)
            self._leave(running)
            return
        freeing.add_done_callback(lambda _: self._leave(running))

    def _leave(self, running: "set[ServedCall]") -> None:
        self._reserved.close()
        running.discard(self)

    def _progress(self) -> pb.PruneResponse:
        return pb.PruneResponse(
            progress=pb.Progress(received_bytes=self.requests.received_bytes, sent_bytes=self.stream.sent_bytes)
        )


def _taken_error(task: asyncio.Task[None]) -> BaseException | None:
    """Take its error from a task that is done: the traceback refers to all that the call had, and not to this frame."""
    try:
        return task.exception()
    except asyncio.CancelledError as error:
        return error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)


def _free(*parts: list[object]) -> None:
    """Clear lists of many small objects, and return their memory: what is left among others' would stay for long."""
    clear_in_steps(*parts)
    trim()
