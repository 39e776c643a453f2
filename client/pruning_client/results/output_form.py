"""The forms of a result by the names that callers use: "pruned", "masked", "mask", "packed", "removed"."""

from typing import Final, Literal, TypeAlias, cast

from pruning_client.errors import recipe_error
from pruning_proto.formats import FORMATS
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb

Output: TypeAlias = Literal["pruned", "masked", "mask", "packed", "removed"]
"""`pruned`: zeros in place. `masked`: `w_orig` and `w_mask`. `mask`: one bit an entry, as `w:mask_bits`.

`packed`: what survived and one bit an entry, see docs/packed.md. `removed`: smaller tensors, without the units that
fell.
"""

_FORMS: Final = {row.name: cast("pb.OutputForm", row.number) for row in FORMATS if row.has_file}


def form_of(output: str) -> "pb.OutputForm":
    """Give the form of a name. Raises: RecipeError if there is none of that name."""
    if output not in _FORMS:
        allowed = ", ".join(repr(name) for name in _FORMS)
        raise recipe_error(Reason.INVALID_RECIPE, "output", f"a result has one of the forms {allowed}; got {output!r}")
    return _FORMS[output]


def name_of(form: "pb.OutputForm") -> str:
    """Give the name of a form, also of one that is newer than this client."""
    known = {value: name for name, value in pb.OutputForm.items()}
    return known.get(form, str(form)).removeprefix("OUTPUT_FORM_").lower()
