"""Records: read back as they were written, or refused; and finished parts are not done again."""

import numpy as np
import pytest
from safetensors.torch import save

from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.parts import RecordError
from pruning_service.parts.records import Record, fingerprint, read, written
from tests.service.parts.in_parts import InParts, at_once, files_of, options_for, result_of
from tests.service.parts.test_parts import GLOBAL, layers

DIVISION = fingerprint(b"this")
RECORD = Record({"a": [1, None], "b": "c"}, [np.arange(5, dtype=np.uint16), np.array([2**63], np.uint64)])
DATA = written(RECORD, DIVISION, "look-0-1", 3)


def test_record_comes_back() -> None:
    found = read(DATA, DIVISION, "look-0-1", 3)
    assert found.fields == RECORD.fields
    for array, expected in zip(found.arrays, RECORD.arrays, strict=True):
        assert array.dtype == expected.dtype
        assert np.array_equal(array, expected)


@pytest.mark.parametrize("at", range(len(DATA)))
def test_every_changed_byte_is_found(at: int) -> None:
    changed = bytearray(DATA)
    changed[at] ^= 1
    with pytest.raises(RecordError):
        read(bytes(changed), DIVISION, "look-0-1", 3)


@pytest.mark.parametrize("length", [0, 7, 8, 87, 88, len(DATA) - 1])
def test_short_and_long_records_are_refused(length: int) -> None:
    with pytest.raises(RecordError):
        read(DATA[:length], DIVISION, "look-0-1", 3)
    with pytest.raises(RecordError, match="bytes, and says"):
        read(DATA + b"0", DIVISION, "look-0-1", 3)


@pytest.mark.parametrize(
    ("division", "kind", "part", "why"),
    [
        (fingerprint(b"that"), "look-0-1", 3, "of another request, checkpoint"),
        (DIVISION, "look-0-2", 3, "is of part 3 of 'look-0-1'"),
        (DIVISION, "look-0-1", 4, "is of part 3"),
    ],
    ids=["division", "phase", "part"],
)
def test_records_of_something_else_are_refused(division: bytes, kind: str, part: int, why: str) -> None:
    with pytest.raises(RecordError, match=why):
        read(DATA, division, kind, part)


def test_finished_parts_are_not_done_again() -> None:
    content = save(layers())
    options = options_for(content, [GLOBAL], pb.OUTPUT_FORM_REPORT)
    first = InParts(options, content, files_of(result_of(options, content), 4))
    expected = first.run()
    assert expected == at_once(options, content)
    again = InParts(options, content, first.files, records=dict(first.records))
    assert again.run() == expected
    assert again.store.ranges == []
    again.records.pop(("write", 0))
    assert again.run() == expected
    assert again.store.ranges


def test_records_are_the_same_every_time() -> None:
    content = save(layers())
    options = options_for(content, [GLOBAL], pb.OUTPUT_FORM_MASK)
    found = [InParts(options, content, files_of(result_of(options, content), 3)) for _ in range(2)]
    for each in found:
        each.run()
    first, second = ({key: data for key, data in each.records.items() if key[0] != "write"} for each in found)
    assert first == second
