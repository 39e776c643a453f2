"""Half of the experts removed by compressed-tensors, in an environment of its own: `expert_pruner.py FOLDER RESULT`."""

import sys

from compressed_tensors.entrypoints.convert import convert_checkpoint  # type: ignore[import-not-found]
from compressed_tensors.entrypoints.convert.converters.magnitude_expert_pruner import (  # type: ignore[import-not-found]
    MagnitudeExpertPruner,
)

source, result = sys.argv[1:]
pruner = MagnitudeExpertPruner.from_pretrained(
    source, router_pattern=r"mlp\.gate\.weight$", expert_pattern=r"mlp\.experts\.", sparsity=0.5
)
convert_checkpoint(source, result, pruner)
