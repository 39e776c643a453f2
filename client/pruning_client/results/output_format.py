"""The output formats by the names that callers use; `pruning_proto.formats` says what each of them is."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, cast, get_args

from pruning_client.errors import recipe_error
from pruning_proto.formats import FORMATS
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb

Output: TypeAlias = Literal["pruned", "masked", "mask", "packed", "removed"]
"""The output formats with a file.

`pruned`: zeros in place. `masked`: `w_orig` and `w_mask`. `mask`: one bit per entry, as `w:mask_bits`. `packed`: the
unpruned values and one bit per entry, see docs/packed.md. `removed`: smaller tensors, without the pruned channels.
"""

Compression: TypeAlias = Literal["zstd"]
"""How output "packed" may be compressed as well, see docs/packed.md."""

_BY_NAME: Final[Mapping[str, "pb.OutputForm"]] = MappingProxyType(
    {row.name: cast("pb.OutputForm", row.number) for row in FORMATS if row.has_file}
)


def format_of(output: str) -> "pb.OutputForm":
    """Return the output format of this name. Raises: RecipeError if there is none."""
    if output not in _BY_NAME:
        allowed = ", ".join(repr(name) for name in _BY_NAME)
        raise recipe_error(Reason.INVALID_RECIPE, "output", f"the output formats are {allowed}; got {output!r}")
    return _BY_NAME[output]


def compression_of(compression: str | None) -> "pb.Compression":
    """Return the compression of this name. Raises: RecipeError if there is none."""
    if compression is None:
        return pb.COMPRESSION_UNSPECIFIED
    if compression not in get_args(Compression):
        description = f"packed results are compressed by 'zstd' or None, got {compression!r}"
        raise recipe_error(Reason.INVALID_RECIPE, "compression", description)
    return pb.COMPRESSION_ZSTD


def name_of(output: "pb.OutputForm") -> str:
    """Return the name of an output format, also of one that is newer than this client."""
    names = {value: name for name, value in pb.OutputForm.items()}
    return names.get(output, str(output)).removeprefix("OUTPUT_FORM_").lower()


def compression_name(compression: "pb.Compression") -> str:
    """Return the name of a compression, also of one that is newer than this client."""
    names = {value: name for name, value in pb.Compression.items()}
    return names.get(compression, str(compression)).removeprefix("COMPRESSION_").lower()
