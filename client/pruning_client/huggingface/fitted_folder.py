"""A folder made to fit the units that are left of its model: `config.json`, and the files that name tokens.

What the plan already says is done, or refused, before any weights are read; the rest once they have been pruned.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pruning_client.checkpoints.atomic_file import replacing
from pruning_client.errors import ProtocolError
from pruning_client.huggingface.config_fields import CONFIG
from pruning_client.huggingface.config_json import updated_config, with_named_fields
from pruning_client.huggingface.experts.widths import expert_width_warnings
from pruning_client.huggingface.map_editors import vocabularies
from pruning_client.huggingface.result_check import check_result
from pruning_client.huggingface.transformers_check import Shapes, TransformersCheck
from pruning_client.huggingface.vocabulary.folder_files import TokenizerTrim, edit_files
from pruning_client.results.group_report import GroupReport
from pruning_client.results.model_warning import ModelWarning
from pruning_client.results.report import Report
from pruning_proto.v1 import pruning_pb2 as pb


@dataclass(slots=True, kw_only=True)
class FittedFolder:
    """The copy `folder` of a model's folder `source`, whose weights a recipe makes smaller.

    `shapes`: of the source's tensors; `shapes_after`: returns those of the result's, once they are written; `config`:
    the source's config.json. The methods are called in their order.
    """

    source: Path
    folder: Path
    shapes: Shapes
    shapes_after: Callable[[], Shapes]
    config: Mapping[str, Any]
    recipe: pb.Recipe
    tokenizer: TokenizerTrim | None = None
    _cut: dict[str, tuple[int, ...]] = field(default_factory=dict)
    _warnings: list[ModelWarning] = field(default_factory=list)

    def check(self, planned: Sequence[GroupReport]) -> None:
        """Refuse what config.json cannot express of the units that will be left. Raises: MismatchError."""
        updated_config(self.config, planned, self.recipe)

    def cut_vocabularies(self, groups: Iterable[GroupReport]) -> None:
        """Edit the copied files that name tokens, for each vocabulary of these groups that is not cut yet.

        Raises: MismatchError if a token is removed that a file needs, or the tokenizer cannot be cut. OSError.
        ProtocolError if a vocabulary was cut to other tokens before, which the plan had.
        """
        for group in vocabularies(groups, self.recipe):
            if group.name not in self._cut:
                self._cut[group.name] = group.kept
                self._warnings.extend(edit_files(self.source, self.folder, group, self.tokenizer))
            elif self._cut[group.name] != group.kept:
                raise ProtocolError(f"the server kept other tokens of {group.name!r} than its plan said")

    def finish(self, report: Report, transformers: TransformersCheck) -> Report:
        """Check the pruned weights, and write the config.json that fits them; return the report with its fields.

        Raises: MismatchError if config.json cannot express what is left. OSError.
        """
        config = updated_config(self.config, report.groups, self.recipe)
        after = (config, self.shapes_after())
        warnings = check_result((self.config, self.shapes), after, report.groups, transformers)
        self.cut_vocabularies(report.groups)
        text = json.dumps(config, indent=2, ensure_ascii=False)
        with replacing(self.folder / CONFIG) as file:
            file.write(f"{text}\n".encode())
        return with_named_fields(self.config, report, self.recipe).with_warnings(
            *warnings, *expert_width_warnings(self.config, report.groups), *self._warnings
        )
