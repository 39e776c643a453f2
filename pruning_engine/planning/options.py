"""What a request says about the model and its statistics, beside the recipe, the output format and tied parameters."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """Options of a plan.

    `model_type`: as config.json has it, such as "gpt2"; empty: not known. `input_dims`: the dim of the input channels
    of single weights. `auxiliary_aliases`: an auxiliary tensor that is not among the tensors -> the one that it equals.
    `skips_unused`: auxiliary tensors that no rule uses are ignored, for a plan that is not carried out.
    `is_planned_only`: it is not carried out, and may be of rules that no output format carries out in one call.
    `scan_sparsities`: of output format SCAN; empty: its own. `can_read_again`: the tensors can be read several times,
    so that rules of global scope need not hold them, if all of these can do without.
    """

    model_type: str = ""
    input_dims: Mapping[str, int] = field(default_factory=dict)
    auxiliary_aliases: Mapping[str, str] = field(default_factory=dict)
    skips_unused: bool = False
    is_planned_only: bool = False
    scan_sparsities: tuple[float, ...] = ()
    can_read_again: bool = False
