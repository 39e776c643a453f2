"""The header of a safetensors file: what is read is written again the same, and everything else is refused by a reason.

A short header is read in one call of Python's `json`, a long one in steps: both must find the same.
"""

from pathlib import Path

from pruning_client.checkpoints.file import FileSource
from pruning_client.errors import CheckpointError
from pruning_proto.safetensors.header import PREFIX_BYTES, Layout, LayoutError, build, parse
from tests.fuzzing.made_files import NAME, InMemory
from tests.fuzzing.refusals import check_refusal

LONG = b" " * 4096
"""So much behind a header makes it a long one."""


def check(data: bytes) -> None:
    """Read the bytes as a header, and as a file. Raises: AssertionError, or any error that is not a refusal."""
    found = _parsed(data)
    assert _without_size(found) == _without_size(_parsed(data + LONG)), "a short header and a long one differ"
    if isinstance(found, Layout):
        _check_written_again(found)
    _check_as_file(data)


def _parsed(header: bytes) -> Layout | tuple[str, str | None]:
    """Return what a header says, or why it is refused."""
    try:
        return parse(header, most_tensors=1000)
    except LayoutError as error:
        check_refusal(error.reason, str(error))
        return error.reason, error.tensor


def _without_size(found: Layout | tuple[str, str | None]) -> object:
    return (found.tensors, dict(found.metadata)) if isinstance(found, Layout) else found


def _check_written_again(found: Layout) -> None:
    header, layout = build([(entry.name, entry.dtype, entry.shape) for entry in found.tensors], found.metadata)
    again = parse(header[PREFIX_BYTES:])
    assert (again.tensors, again.metadata) == (found.tensors, found.metadata), "written again it is another"
    assert again == layout, "what is written is not what was said"


def _check_as_file(data: bytes) -> None:
    try:
        FileSource(Path(NAME), InMemory(data))
    except CheckpointError as error:
        check_refusal(error.reason, str(error), NAME)
