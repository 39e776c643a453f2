"""The client's messages: how long they are waited for, and that none is parsed for more than its bytes allow."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from pruning_proto import limits
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.status import Refusal
from pruning_service.streams.request_messages import MOST_BESIDE_DATA, check_may_be_options, data_of, whole_of
from pruning_service.streams.request_stream import RequestStream

MANY_RULES = pb.PruneRequest(options=pb.PruneOptions(recipe=pb.Recipe(rules=[pb.Rule()] * 1000))).SerializeToString()
DATA = pb.PruneRequest(data=b"abc").SerializeToString()


async def never() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


async def reserve_nothing(_: int) -> None: ...


def test_first_message_has_a_deadline_of_its_own() -> None:
    async def options() -> None:
        await RequestStream(never(), 60, first_seconds=0.05).options(reserve_nothing)

    with pytest.raises(Refusal, match=r"nothing came for 0\.05 s") as caught:
        asyncio.run(options())
    assert caught.value.reason == Reason.CLIENT_IDLE


def test_options_that_are_too_long_are_refused_unparsed() -> None:
    with pytest.raises(Refusal, match="options have at most"):
        check_may_be_options(b"\xff" * (limits.OPTIONS_BYTES + 1))


def test_second_options_are_refused_unparsed() -> None:
    with pytest.raises(Refusal) as caught:
        data_of(MANY_RULES + b"\xff")  # which cannot be parsed
    assert caught.value.reason == Reason.UNEXPECTED_MESSAGE


def test_data_with_much_beside_it_is_refused_unparsed() -> None:
    with pytest.raises(Refusal, match="send the data alone") as caught:
        data_of(DATA + b"\xff" * MOST_BESIDE_DATA)
    assert caught.value.reason == Reason.UNSUPPORTED_FIELD


@pytest.mark.parametrize("raw", [DATA, b"\x7a\x83\x00abc"], ids=["as protobuf writes it", "with a longer length"])
def test_data_is_taken_however_it_is_spelled(raw: bytes) -> None:
    assert bytes(data_of(raw)) == b"abc"


OPTIONS = pb.PruneOptions(recipe=pb.Recipe(rules=[pb.Rule()]), total_bytes=3)
WHOLE = pb.PruneRequest(whole=pb.WholeRequest(options=OPTIONS, data=b"abc")).SerializeToString()
TURNED = b"\x12" + WHOLE[1:2] + WHOLE[-5:] + WHOLE[2:-5]
WITH_MORE = b"\x12" + bytes([WHOLE[1] + 2]) + WHOLE[2:] + b"\x18\x01"


async def one_and_no_end(message: bytes) -> AsyncIterator[bytes]:
    yield message
    await asyncio.Event().wait()


def test_after_a_whole_model_nothing_is_waited_for() -> None:
    async def received() -> tuple[pb.PruneOptions, bytes | None, memoryview | None]:
        stream = RequestStream(one_and_no_end(WHOLE), 20)
        options = await stream.options(reserve_nothing)
        data = bytes(await stream.read() or b"")
        return options, data, await stream.read()

    assert asyncio.run(received()) == (OPTIONS, b"abc", None)


def test_whole_models_are_small() -> None:
    large = pb.WholeRequest(options=OPTIONS, data=bytes(limits.WHOLE_BYTES + 1))
    with pytest.raises(Refusal, match=r"at most 262,144 bytes, got 262,145") as caught:
        whole_of(pb.PruneRequest(whole=large).SerializeToString())
    assert caught.value.reason == Reason.MODEL_TOO_LARGE


@pytest.mark.parametrize(
    "raw",
    [TURNED, WITH_MORE, WHOLE[:-1], pb.PruneRequest(whole=pb.WholeRequest(options=OPTIONS)).SerializeToString()],
    ids=["data first", "with an unknown field", "cut", "without data"],
)
def test_whole_model_in_another_form_is_refused_unparsed(raw: bytes) -> None:
    with pytest.raises(Refusal, match="options, then data") as caught:
        whole_of(raw)
    assert caught.value.reason == Reason.UNSUPPORTED_FIELD
