"""A divided job as a record: what any process needs to do a part of it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from pruning_client.jobs.divided.extents import Extent
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.local_settings import LocalSettings
from pruning_service.parts import Division, RecordError, WholePlan
from pruning_service.parts.records import Record, fingerprint, read, written
from pruning_service.stores.store import StoredObject

_KIND = "division"
_NO_PART = -1


@dataclass(frozen=True, slots=True)
class ResultFile:
    """A file of the result: its key at the target, its header, and its results in their order."""

    key: str
    size: int
    header: bytes
    results: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDivision:
    """What is asked, of which bytes, and into which files at `target`. `version`: of this program."""

    options: pb.PruneOptions
    header: bytes
    version: str
    extents: Sequence[Extent]
    target: str
    files: Sequence[ResultFile]

    def whole(self, settings: LocalSettings) -> WholePlan:
        """Return the plan of the whole checkpoint. Raises: Refusal, PruningError."""
        return WholePlan(self.options, self.header, self.version, settings)

    def division(self, settings: LocalSettings) -> Division:
        """Return the plan, divided by the files. Raises: Refusal, PruningError."""
        return self.whole(settings).divide([file.results for file in self.files])

    def to_bytes(self) -> bytes:
        """Return it as bytes, the same every time."""
        fields = {
            "version": self.version,
            "target": self.target,
            "extents": [asdict(extent) for extent in self.extents],
            "files": [{"key": file.key, "size": file.size, "results": file.results} for file in self.files],
        }
        options = self.options.SerializeToString(deterministic=True)
        arrays = [_array(data) for data in (options, self.header, *(file.header for file in self.files))]
        return written(Record(fields, arrays), _ANY, _KIND, _NO_PART)


_ANY = fingerprint(b"any")


def division_from(data: bytes) -> JobDivision:
    """Return a divided job that another process has written. Raises: RecordError."""
    record = read(data, _ANY, _KIND, _NO_PART)
    options, header, *headers = (array.tobytes() for array in record.arrays)
    fields = record.fields
    try:
        return JobDivision(
            options=pb.PruneOptions.FromString(options),
            header=header,
            version=fields["version"],
            extents=[Extent(**{**each, "found": StoredObject(**each["found"])}) for each in fields["extents"]],
            target=fields["target"],
            files=[
                ResultFile(file["key"], file["size"], header_of_file, tuple(file["results"]))
                for file, header_of_file in zip(fields["files"], headers, strict=True)
            ],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"the record of a divided job lacks something: {error!r}") from error


def _array(data: bytes) -> "np.ndarray[tuple[int], np.dtype[np.uint8]]":
    return np.frombuffer(data, np.uint8)
