"""The output formats by the names that callers use; `pruning_proto.formats` says what each of them is."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, cast

from pruning_client.errors import recipe_error
from pruning_proto.formats import FORMATS
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb

Output: TypeAlias = Literal["pruned", "masked", "mask", "packed", "removed"]
"""The output formats with a file.

`pruned`: zeros in place. `masked`: `w_orig` and `w_mask`. `mask`: one bit per entry, as `w:mask_bits`. `packed`: the
unpruned values and one bit per entry, see docs/packed.md. `removed`: smaller tensors, without the pruned channels.
"""

_BY_NAME: Final[Mapping[str, "pb.OutputForm"]] = MappingProxyType(
    {row.name: cast("pb.OutputForm", row.number) for row in FORMATS if row.has_file}
)


def format_of(output: str) -> "pb.OutputForm":
    """Return the output format of this name. Raises: RecipeError if there is none."""
    if output not in _BY_NAME:
        allowed = ", ".join(repr(name) for name in _BY_NAME)
        raise recipe_error(Reason.INVALID_RECIPE, "output", f"the output formats are {allowed}; got {output!r}")
    return _BY_NAME[output]


def name_of(output: "pb.OutputForm") -> str:
    """Return the name of an output format, also of one that is newer than this client."""
    names = {value: name for name, value in pb.OutputForm.items()}
    return names.get(output, str(output)).removeprefix("OUTPUT_FORM_").lower()
