"""The packed format by itself: names, sizes and pieces, without a byte of data."""

import pytest

from pruning_proto.names import PACKED_KEY, PACKED_ORDER_KEY
from pruning_proto.packed import format as packed_layout
from pruning_proto.packed.format import ENTRIES, Content, Packable, arranged, packable
from pruning_proto.reasons import Reason
from pruning_proto.safetensors.header import LayoutError, build, parse


def test_matrix_stands_under_the_names_of_compressed_tensors() -> None:
    assert Packable("model.fc.weight", "BF16", (3, 10)).parts(7) == [
        ("model.fc.shape", "I64", (2,)),
        ("model.fc.compressed", "BF16", (7,)),
        ("model.fc.bitmask", "U8", (3, 2)),
        ("model.fc.row_offsets", "I64", (3,)),
    ]


@pytest.mark.parametrize(
    ("name", "shape"),
    [("conv.weight", (3, 5, 2)), ("weight", (3, 10)), ("fc.weights", (3, 10)), ("fc.weight", (30,))],
    ids=["3 dims", "no module", "another name", "1 dim"],
)
def test_any_other_tensor_is_flattened(name: str, shape: tuple[int, ...]) -> None:
    expected = [(f"{name}.values", "F32", (7,)), (f"{name}.bits", "U8", (4,))]
    assert Packable(name, "F32", shape).parts(7) == expected


@pytest.mark.parametrize("spec", [("w", "F32", (0, 3)), ("w", "F4", (8,)), ("w", "F6_E2M3", (4,))])
def test_tensor_without_whole_entries_is_not_packed(spec: packed_layout.Spec) -> None:
    assert packable(spec) is None


def test_tensor_gets_smaller_only_if_its_lines_in_the_header_are_paid_for() -> None:
    tensor = Packable("w", "F32", (1000,))
    paid = (4000 - 125 - 2 * 81) // 4  # of 4,000 bytes: the mask, and two lines
    assert tensor.gets_smaller(paid)
    assert not tensor.gets_smaller(paid + 1)


@pytest.mark.parametrize("shape", [(ENTRIES // 8, 24), (3, ENTRIES + 9), (2, 2 * ENTRIES), (1, 1)])
def test_pieces_cover_entries_and_mask_once(shape: tuple[int, int]) -> None:
    tensor = Packable("fc.weight", "F32", shape)
    pieces = list(tensor.pieces())
    assert [piece.begin for piece in pieces] == [0, *(piece.end for piece in pieces[:-1])]
    assert [piece.bits_begin for piece in pieces] == [0, *(piece.bits_end for piece in pieces[:-1])]
    assert (pieces[-1].end, pieces[-1].bits_end) == (tensor.entries, tensor.bits_bytes)
    assert max(piece.end - piece.begin for piece in pieces) <= ENTRIES


def test_contents_come_in_the_order_of_what_was_packed() -> None:
    first, last = Packable("b.weight", "F32", (2, 300)), Packable("a", "F32", (300,))
    metadata = packed_layout.with_shapes({"format": "pt"}, [first, last])
    assert metadata == {"format": "pt", PACKED_KEY: '{"b.weight":[2,300],"a":[300]}'}
    header, _ = build([*first.parts(0), ("empty", "F32", (0,)), *last.parts(0), ("z", "I8", (1,))], metadata)
    found = [packed_layout.spec_of(each) for each in packed_layout.contents(parse(header[8:]))]
    assert found == [
        ("b.weight", "F32", (2, 300)),
        ("empty", "F32", (0,)),
        ("a", "F32", (300,)),
        ("z", "I8", (1,)),
    ]


@pytest.mark.parametrize("order", ["[1]", "[1,1]", "[0,2]", "[0,true]", '{"0":1}', "[[", "[0,1,2]"])
def test_order_that_is_none_is_refused(order: str) -> None:
    tensor = Packable("a", "F32", (300,))
    metadata = packed_layout.with_shapes({}, [tensor]) | {PACKED_ORDER_KEY: order}
    header, _ = build([*tensor.parts(0), ("z", "I8", (1,))], metadata)
    with pytest.raises(LayoutError, match=f"each of 0 to 1 once under '{PACKED_ORDER_KEY}'") as refused:
        packed_layout.contents(parse(header[8:]))
    assert refused.value.reason is Reason.INVALID_PACKED


def test_parts_of_odd_sizes_come_last_and_the_order_is_kept() -> None:
    tensor, dense = Packable("a", "F32", (300,)), ("z", "F32", (1,))
    contents = [Content(tensor, tensor.parts(1)), Content(None, [dense])]
    specs, order = arranged(contents)
    assert ([name for name, _, _ in specs], order) == (["a.values", "z", "a.bits"], [1, 0])
    header, _ = build(specs, packed_layout.with_shapes({}, [tensor], order))
    found = [packed_layout.spec_of(each)[0] for each in packed_layout.contents(parse(header[8:]))]
    assert found == ["a", "z"]


def test_order_that_is_the_dense_one_is_not_stored() -> None:
    assert PACKED_ORDER_KEY not in packed_layout.with_shapes({}, [], [0, 1])


def test_packed_tensor_that_is_also_there_as_it_was_is_refused() -> None:
    tensor = Packable("a", "F32", (300,))
    header, _ = build([*tensor.parts(0), ("a", "F32", (300,))], packed_layout.with_shapes({}, [tensor]))
    with pytest.raises(LayoutError, match="'a' is there twice, packed and as it is") as refused:
        packed_layout.contents(parse(header[8:]))
    assert refused.value.reason is Reason.INVALID_PACKED
