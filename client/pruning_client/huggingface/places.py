"""Where the folder of a model is, and where its result goes. Here: on the disk; object stores are in `jobs`."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pruning_client.calls.sinks import Target
from pruning_client.checkpoints.readable import DISK, Files
from pruning_client.checkpoints.split import ShardFiles, SplitFiles
from pruning_client.checkpoints.weight_files import weights_in
from pruning_client.huggingface.copied_folder import copy_folder
from pruning_client.huggingface.new_folder import check_new, new_folder
from pruning_client.huggingface.result_check import shapes_of
from pruning_client.huggingface.result_files import ResultFiles
from pruning_client.huggingface.transformers_check import Shapes


class SourceFolder(Protocol):
    """A folder of which all small files are on the disk, and all others at least by name."""

    @property
    def path(self) -> Path:
        """Where on the disk."""

    @property
    def files(self) -> Files:
        """Where the bytes of its weights are."""

    def copy(self, target: Path, is_left_out: Callable[[Path], bool]) -> None:
        """Copy all files but those left out into a new folder on the disk. Raises: OSError."""


class ResultFolder(Protocol):
    """A folder that is made: first its weights, then other files, those that a loader looks for last."""

    def check_new(self) -> None:
        """Raise OSError if there is something already, or it cannot be made."""

    def made(self) -> AbstractContextManager[Path]:
        """Return a folder on the disk, to be made inside, for all files but weights; the result is there in the end."""

    def weights(self, folder: Path, files: ResultFiles) -> Target:
        """Return what the weights are to be written to. `folder`: what `made` returned."""

    def shapes(self, folder: Path) -> Shapes:
        """Return the shape of each tensor that was written. Raises: OSError, CheckpointError."""


@dataclass(frozen=True, slots=True)
class DiskFolder:
    """A folder on the disk."""

    path: Path
    files: Files = DISK

    def copy(self, target: Path, is_left_out: Callable[[Path], bool]) -> None:
        """Copy all files but those left out."""
        copy_folder(self.path, target, is_left_out)


@dataclass(frozen=True, slots=True)
class DiskResult:
    """A new folder on the disk, which is there whole or not at all."""

    path: Path

    def check_new(self) -> None:
        """Raise OSError if there is something already, or the folder that it is in does not exist."""
        check_new(self.path)

    @contextmanager
    def made(self) -> Iterator[Path]:
        """Return a folder to be made inside, which gets the result's name in the end."""
        with new_folder(self.path) as folder:
            yield folder

    def weights(self, folder: Path, files: ResultFiles) -> Target:
        """Return a path in the folder, or several."""
        return target_of(files, folder, lambda file: folder / file)

    def shapes(self, folder: Path) -> Shapes:
        """Return the shape of each tensor in the folder."""
        weights = weights_in(folder)
        return {} if weights is None else shapes_of(weights)


def target_of(
    files: ResultFiles, folder: Path, one_file: Callable[[str], Target], shards: ShardFiles | None = None
) -> Target:
    """Return the target of a result in one file, by its path in the folder, or in several, which `shards` writes."""
    file = files.only_file
    return SplitFiles(folder, files.places, shards) if file is None else one_file(file)
