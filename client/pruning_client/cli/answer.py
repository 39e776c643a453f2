"""What a command found, as text for people or as JSON for programs."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pruning_client.cli.tables import printable, wrapped
from pruning_client.results.model_warning import ModelWarning


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a command: `value` for programs, which has the `warnings` too, and `text` for people.

    `is_code`: the text is for programs too, and no line of it is wrapped. `is_beside_result`: standard output has the
    resulting file, so that this belongs on standard error. `status` is the exit status.
    """

    value: dict[str, Any]
    text: str
    warnings: Sequence[ModelWarning] = ()
    is_code: bool = False
    is_beside_result: bool = False
    status: int = 0

    def with_warnings(self, warnings: Sequence[ModelWarning]) -> "Answer":
        """Return the answer with more warnings, for programs too."""
        found = [*self.value.get("warnings", []), *map(asdict, warnings)]
        return replace(self, value=self.value | {"warnings": found}, warnings=(*self.warnings, *warnings))

    def beginning_with(self, line: str, fields: dict[str, Any]) -> "Answer":
        """Return the answer with a line before its text, and fields for programs."""
        return replace(self, value=fields | self.value, text=f"{line}\n{self.text}")

    def as_json(self) -> str:
        """Return one JSON object."""
        return json.dumps(self.value, indent=2) + "\n"

    def as_text(self, width: int | None) -> str:
        """Return lines that are safe to print on a terminal of `width` columns; nothing for an empty text."""
        if not self.text:
            return ""
        lines = "\n".join(map(printable, self.text.split("\n"))) + "\n"
        return lines if self.is_code else wrapped(lines, width)
