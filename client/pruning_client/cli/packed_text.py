"""Packed files as text for people."""

from pruning_client.cli.tables import bytes_text
from pruning_client.files.pack import PackedFile
from pruning_proto.counted import counted


def packed_text(packed: PackedFile, *, canonical_zero: bool) -> str:
    """Return the sizes of a file that was packed or unpacked."""
    ratio = f"{bytes_text(packed.packed_bytes)} packed, {bytes_text(packed.dense_bytes)} dense: {packed.ratio:.2%}"
    zeros = negative_zeros_lines(packed.negative_zeros or 0, canonical_zero=canonical_zero)
    return "\n".join([f"{packed.packed:,} of {counted(packed.tensors, 'tensor')} packed", ratio, *zeros])


def negative_zeros_lines(count: int, *, canonical_zero: bool) -> list[str]:
    """Return what became of the entries of -0.0, if there are any."""
    entries = f"{count:,} entr{'y' if count == 1 else 'ies'}"
    if canonical_zero:
        return [f"-0.0 became +0.0 in {entries}"] if count else []
    return [f"-0.0 stays in {entries}; --canonical-zero makes it +0.0, which takes one bit"] if count else []
