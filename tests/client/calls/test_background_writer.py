"""Writes in the background: in order, bounded, and all done at the end; an error reaches the caller."""

import threading

import pytest

from pruning_client.calls.background_writer import BackgroundWriter
from pruning_proto.framing import Data
from pruning_proto.limits import CHUNK_BYTES


def write_two(writer: BackgroundWriter, all_came: threading.Event) -> None:
    writer.write(b"a")
    writer.write(b"b")
    all_came.set()


def test_all_is_written_in_order_at_the_end() -> None:
    written: list[Data] = []
    with BackgroundWriter(written.append, most_bytes=3) as writer:
        for number in range(20):
            writer.write(bytes([number]))
    assert b"".join(written) == bytes(range(20))


def test_caller_goes_on_while_little_is_held() -> None:
    written: list[Data] = []
    may_write = threading.Event()

    def write(data: Data) -> None:
        may_write.wait(5)
        written.append(data)

    with BackgroundWriter(write, most_bytes=8) as writer:
        writer.write(bytes(100))
        writer.write(b"1234567")
        assert not written
        may_write.set()


def test_caller_waits_while_much_is_held() -> None:
    passed, may_write = threading.Event(), threading.Event()

    def hand_over(writer: BackgroundWriter) -> None:
        writer.write(b"a")
        writer.write(b"12345678")
        passed.set()

    with BackgroundWriter(lambda _: may_write.wait(5), most_bytes=8) as writer:
        caller = threading.Thread(target=hand_over, args=[writer])
        caller.start()
        assert not passed.wait(0.1)
        may_write.set()
        caller.join()
    assert passed.is_set()


def failing(data: Data) -> None:
    raise OSError(f"the disk is full at {bytes(data)!r}")


def test_error_reaches_the_caller() -> None:
    with pytest.raises(OSError, match="full at b'a'"), BackgroundWriter(failing, most_bytes=1) as writer:
        writer.write(b"a")


def test_error_at_the_end_reaches_the_caller() -> None:
    with pytest.raises(OSError, match="full at b'a'"), BackgroundWriter(failing, most_bytes=8) as writer:
        writer.write(b"a")


def test_rest_is_not_written_after_an_error() -> None:
    tried: list[bytes] = []
    all_came = threading.Event()

    def write(data: Data) -> None:
        all_came.wait(5)
        tried.append(bytes(data))
        failing(data)

    with pytest.raises(OSError, match="full at b'a'"), BackgroundWriter(write, most_bytes=8) as writer:
        write_two(writer, all_came)
    assert tried == [b"a"]


def test_rest_is_not_written_after_an_error_of_the_caller() -> None:
    written: list[int] = []
    may_write, parts = threading.Event(), bytes(2 * CHUNK_BYTES)

    def write(data: Data) -> None:
        may_write.wait(5)
        written.append(len(data))

    def fail(writer: BackgroundWriter) -> None:
        writer.write(parts)
        writer.write(b"b")
        threading.Timer(0.05, may_write.set).start()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), BackgroundWriter(write, 2 * len(parts)) as writer:
        fail(writer)
    assert written == [CHUNK_BYTES]
