"""What every store does, on files and on a real S3."""

import random
import threading
from collections.abc import Iterable, Sequence

import pytest

from pruning_proto.limits import MIB
from pruning_service.stores.errors import ExistsError, ObjectChangedError, ObjectMissingError, ReplacedError
from pruning_service.stores.store import ByteRange, Store

LARGE = random.Random(0).randbytes(20 * MIB + 3)  # noqa: S311 - no secret


def _write(store: Store, key: str, data: bytes, size: int | None = None) -> None:
    with store.writer(key, size) as writer:
        for begin in range(0, len(data), 3 * MIB):
            writer.write(data[begin : begin + 3 * MIB])
        writer.complete()


def _joined(pieces: Iterable[memoryview]) -> bytes:
    return b"".join(bytes(piece) for piece in pieces)  # each may be in the memory of the one before


def _fail_to_write(store: Store, key: str) -> None:
    with store.writer(key, len(LARGE)) as writer:
        writer.write(LARGE)
        raise ZeroDivisionError


def _fail_otherwise(store: Store) -> None:
    with store.writer("object") as writer:
        writer.write(b"x")
        raise FileNotFoundError(2, "No such file", "somewhere else")


def _keys(store: Store, prefix: str = "") -> list[str]:
    return sorted(found.key for found in store.list(prefix))


def test_put_and_get(store: Store) -> None:
    store.put("folder/a b+c=d.json", b"{}")
    data, version = store.get("folder/a b+c=d.json")
    found = store.find("folder/a b+c=d.json")
    assert (data, found.size, found.version) == (b"{}", 2, version)


def test_empty_object(store: Store) -> None:
    store.put("empty", b"")
    assert store.get("empty")[0] == b""
    assert list(store.read(store.find("empty"), [(0, 0)])) == []


@pytest.mark.parametrize("size", [None, len(LARGE)], ids=["unknown size", "known size"])
def test_large_object_in_parts(store: Store, size: int | None) -> None:
    _write(store, "large", LARGE, size)
    found = store.find("large")
    assert found.size == len(LARGE)
    assert _joined(store.read(found, [(0, found.size)])) == LARGE


RANGES: dict[str, Sequence[ByteRange]] = {
    "none": [],
    "empty ones": [(0, 0), (7, 7), (7, 9), (9, 9), (len(LARGE), len(LARGE))],
    "neighbours": [(0, 5), (5, 9), (100, 200)],
    "far apart": [(1, 2), (9 * MIB, 9 * MIB + 1), (len(LARGE) - 1, len(LARGE))],
    "long": [(3, 17 * MIB), (18 * MIB, 19 * MIB)],
}


@pytest.mark.parametrize("ranges", RANGES.values(), ids=RANGES)
def test_ranges(store: Store, ranges: Sequence[ByteRange]) -> None:
    _write(store, "large", LARGE)
    read = _joined(store.read(store.find("large"), ranges))
    assert read == b"".join(LARGE[begin:end] for begin, end in ranges)


def test_reading_is_given_up_half_way(store: Store) -> None:
    _write(store, "large", LARGE)
    pieces = store.read(store.find("large"), [(0, len(LARGE))])
    first = next(pieces)
    assert bytes(first) == LARGE[: len(first)]
    pieces.close()  # type: ignore[attr-defined]


def test_read_into_memory(store: Store) -> None:
    _write(store, "large", LARGE)
    target = bytearray(10 * MIB)
    store.read_into(store.find("large"), 5, memoryview(target))
    assert target == LARGE[5 : 5 + len(target)]


def test_past_the_end_is_an_error(store: Store) -> None:
    store.put("small", b"abc")
    with pytest.raises(OSError, match="small"):
        list(store.read(store.find("small"), [(1, 5)]))


@pytest.mark.parametrize("new", [b"x" * len(LARGE), None], ids=["replaced", "deleted"])
def test_object_that_changes_is_named(store: Store, new: bytes | None) -> None:
    _write(store, "large", LARGE)
    found = store.find("large")
    if new is None:
        store.delete("large")
    else:
        _write(store, "large", new)
    with pytest.raises(ObjectChangedError, match="/large'"):
        list(store.read(found, [(0, 10)]))


def test_object_changes_while_it_is_read(store: Store) -> None:
    _write(store, "large", LARGE)
    reading = store.read(store.find("large"), [(at * MIB, at * MIB + 10) for at in range(20)])
    next(reading)
    _write(store, "large", LARGE[::-1])
    if store.uri.is_file:  # what is open stays as it was
        assert _joined(reading) == b"".join(LARGE[at * MIB : at * MIB + 10] for at in range(1, 20))


def test_missing_object_is_named(store: Store) -> None:
    with pytest.raises(ObjectMissingError, match="/nothing'"):
        store.find("nothing")
    with pytest.raises(ObjectMissingError, match="/nothing'"):
        store.get("nothing")


def test_list_below_a_folder(store: Store) -> None:
    for key in ("a/1", "a/b/2", "ab/3", "c"):
        store.put(key, b"x")
    assert _keys(store) == ["a/1", "a/b/2", "ab/3", "c"]
    assert _keys(store, "a") == ["a/1", "a/b/2"]
    assert _keys(store, "nothing") == []


def test_versions_of_list_and_find_agree(store: Store) -> None:
    store.put("a", b"x")
    assert [found.version.strip('"') for found in store.list()] == [store.find("a").version.strip('"')]


def test_create_only_once(store: Store) -> None:
    version = store.create("lease", b"mine")
    with pytest.raises(ExistsError, match="/lease'"):
        store.create("lease", b"yours")
    assert store.get("lease") == (b"mine", version)


def test_create_again_after_a_lost_answer(store: Store) -> None:
    assert store.create("lease", b"mine") == store.create("lease", b"mine")


def test_one_of_many_creates(store: Store) -> None:
    created: list[int] = []

    def create(number: int) -> None:
        try:
            store.create("lease", str(number).encode())
        except ExistsError:
            return
        created.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [str(number).encode() for number in created] == [store.get("lease")[0]]


def test_replace_the_version_that_was_seen(store: Store) -> None:
    first = store.create("lease", b"1")
    second = store.replace("lease", b"2", first)
    assert store.get("lease") == (b"2", second)
    with pytest.raises(ReplacedError, match="/lease'"):
        store.replace("lease", b"3", first)
    assert store.get("lease")[0] == b"2"


def test_replace_what_is_gone(store: Store) -> None:
    version = store.create("lease", b"1")
    store.delete("lease")
    with pytest.raises(ReplacedError):
        store.replace("lease", b"2", version)


def test_replaces_of_many_are_in_a_row(store: Store) -> None:
    """Each adds one to a number, and begins again if another one was faster: none is lost."""
    store.create("number", b"0 by nobody")

    def add(name: str) -> None:
        for _ in range(5):
            while True:
                data, version = store.get("number")
                try:
                    store.replace("number", f"{int(data.split()[0]) + 1} by {name}".encode(), version)
                except ReplacedError:
                    continue
                break

    threads = [threading.Thread(target=add, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get("number")[0].split()[0] == b"20"


def test_delete_twice(store: Store) -> None:
    store.put("a", b"x")
    store.delete("a")
    store.delete("a")
    assert _keys(store) == []


@pytest.mark.parametrize("size", [10, len(LARGE)], ids=["small", "large"])
def test_incomplete_object_is_not_visible(store: Store, size: int) -> None:
    with store.writer("object", size) as writer:
        writer.write(LARGE[:size])
        assert _keys(store) == []
    assert _keys(store) == []


def test_object_of_a_failed_writer_is_not_visible(store: Store) -> None:
    store.put("object", b"old")
    with pytest.raises(ZeroDivisionError):
        _fail_to_write(store, "object")
    assert store.get("object")[0] == b"old"


def test_error_of_another_file_is_not_one_of_the_object(store: Store) -> None:
    with pytest.raises(FileNotFoundError, match="somewhere else"):
        _fail_otherwise(store)


def test_traffic_is_counted(store: Store) -> None:
    _write(store, "large", LARGE)
    list(store.read(store.find("large"), [(0, MIB)]))
    counts = store._traffic.counts() if store.uri.is_file else store._remote.traffic.counts()  # type: ignore[attr-defined]
    assert counts[store.uri.scheme, "written_bytes"] == len(LARGE)
    assert counts[store.uri.scheme, "read_bytes"] == MIB
