"""What is fuzzed: a module with a `check` for each, its dictionary of words, and whether C code is what it is about."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

CORPUS = Path(__file__).with_name("corpus")
"""A folder of small inputs for each target: found by fuzzing, and chosen by what they reach."""


@dataclass(frozen=True)
class Target:
    """One target. `words` are what its inputs are made of, beside bytes; `is_native`: it calls the compiled kernels."""

    name: str
    words: Sequence[str] = ()
    is_native: bool = False
    most_bytes: int = 4096

    @property
    def check(self) -> Callable[[bytes], None]:
        """Return the function that takes one input, and raises if something is wrong. Cost: imports what it tests."""
        check: Callable[[bytes], None] = import_module(f"tests.fuzzing.{self.name}").check
        return check

    @property
    def corpus(self) -> Path:
        """Where its inputs are."""
        return CORPUS / self.name


_JSON = ("{", "}", "[", "]", '"', ":", ",", "null", "true", "1e999", "NaN", "Infinity", "-0", '"\\ud800"', "\\u0000")
_DTYPES = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F4", "F6_E2M3", "C64", "I64", "I8", "U8", "BOOL")

TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        Target("header", (*_JSON, *_DTYPES, '"__metadata__"', '"dtype"', '"shape"', '"data_offsets"')),
        Target("recipe_message"),
        Target(
            "recipe_file",
            (
                *("rules:", "seed:", "method: ", "amount: ", "scope: ", "score: ", "granularity: ", "select: "),
                *(
                    "include: ",
                    "exclude: ",
                    "groups: ",
                    "fraction: ",
                    "count: ",
                    "norm: ",
                    "- ",
                    "  ",
                    "\n",
                    "? ",
                    "| ",
                ),
                *(
                    "!!int ",
                    "!!float ",
                    "!!bool ",
                    "!!timestamp ",
                    "!!binary ",
                    "!!set ",
                    "!!omap ",
                    "&a ",
                    "*a",
                    "<<: ",
                ),
                *(".inf", ".nan", "0x", "1:30", "2026-11-30", "~", "{}", "[]", "local", "global", "magnitude"),
            ),
        ),
        Target(
            "statistics",
            (
                *(*_JSON, *_DTYPES, "pruning.statistics.v1=", '"version":1', '"kind":"gram"', '"kind":"norms"', "|"),
                *('"aliases":', '"tokens":', '"input_dims":', '"module_names":', '"skipped":', '"unmapped":', "\n\n"),
                *(":in_gram", ":in_sum2", ":in_count", ":in_sum", ":unit_scores", ":unit_sum", ":unit_count"),
            ),
        ),
        Target(
            "packed",
            (
                *(
                    *_JSON,
                    *_DTYPES,
                    "pruning.packed.v1=",
                    "pruning.packed.order.v1=",
                    "pruning.packed.v2=",
                    "|",
                    "\n\n",
                ),
                *(".compressed", ".bitmask", ".shape", ".row_offsets", ".values", ".bits", ".weight"),
                "(\xb5/\xfd",
            ),
        ),
        Target("kernels", is_native=True, most_bytes=160),
        Target("calibrated_kernels", is_native=True, most_bytes=32),
    )
}
