"""Files of statistics and of scores of units: read, used and written again the same, or refused by a reason."""

import tempfile
from pathlib import Path

from pruning_client.errors import CheckpointError, PruningError
from pruning_client.statistics.statistics import Statistics
from pruning_client.statistics.unit_scores import unit_scores_of, unmeasured_units
from tests.fuzzing.made_files import NAME, InMemory, file_of
from tests.fuzzing.refusals import check_refusal

MOST_BYTES = 1 << 16


def check(data: bytes) -> None:
    """Read the file that the bytes describe. Raises: AssertionError, or any error that is not a refusal."""
    content = file_of(data)
    if content is None:
        return
    try:
        statistics = Statistics.load(Path(NAME), files=InMemory(content))
    except CheckpointError as error:
        check_refusal(error.reason, str(error), NAME)
        return
    _use(statistics)
    if sum(tensor.size_bytes for tensor in statistics.tensors.values()) <= MOST_BYTES:
        _check_written_again(statistics)


def _use(statistics: Statistics) -> None:
    assert repr(statistics)
    assert statistics.summary
    statistics.for_weights([*statistics.weights, *statistics.module_names])
    for use in (unit_scores_of, unmeasured_units):
        try:
            use(statistics)
        except PruningError as error:
            check_refusal(error.reason, str(error))


def _check_written_again(statistics: Statistics) -> None:
    with tempfile.TemporaryDirectory(prefix="fuzzing-") as folder:
        path = Path(folder) / "statistics.safetensors"
        statistics.save(path)
        assert _comparable(Statistics.load(path)) == _comparable(statistics), "written and read they are others"


def _comparable(statistics: Statistics) -> object:
    tensors = {name: (tensor.dtype, tensor.shape, bytes(tensor.data())) for name, tensor in statistics.tensors.items()}
    others = (
        *(statistics.kind, statistics.aliases, statistics.input_dims, statistics.tokens, statistics.module_names),
        *(statistics.skipped, statistics.unmapped, statistics.model_type),
    )
    return tensors, others
