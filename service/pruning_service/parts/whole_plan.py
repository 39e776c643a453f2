"""The plan of a whole checkpoint, from what is asked and its header, and its division into parts."""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from pruning_engine.planning.division import DividedPlan, divided, divided_by_size
from pruning_engine.planning.plan import Plan
from pruning_proto.limits import MIB
from pruning_proto.reasons import Reason
from pruning_proto.safetensors.header import PREFIX_BYTES, Layout, json_bytes, parse
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.calls.preparation import Prepared, prepare
from pruning_service.local_settings import LocalSettings
from pruning_service.messages.plan_and_report import plan_messages
from pruning_service.messages.recipe import Request, request_of
from pruning_service.messages.unknown_fields import reject_unknown_fields
from pruning_service.parts.records import fingerprint
from pruning_service.status import Refusal
from pruning_service.streams.tensor_reader import parsed_header

PART_BYTES: Final = 1024 * MIB
"""What a part reads where there are no results that say what belongs together, unless one parameter takes more."""


def seeded(options: pb.PruneOptions) -> pb.PruneOptions:
    """Return options with a seed, if results depend on one: every process then does the same.

    Raises: Refusal, RecipeError.
    """
    request = request_of(options)
    if not request.recipe.is_random or options.recipe.HasField("seed"):
        return options
    found = pb.PruneOptions()
    found.CopyFrom(options)
    found.recipe.seed = secrets.randbits(64)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """A plan in parts.

    `plan`: with the stages that are searched here. `files`: the names of the results of each part, in order.
    `prepared`: of the whole file, whose header takes `header_bytes`. `name`: 32 bytes that differ with everything that
    records depend on.
    """

    plan: Plan
    divided: DividedPlan
    files: tuple[tuple[str, ...], ...]
    prepared: Prepared
    header_bytes: int
    name: bytes

    @property
    def indivisible(self) -> str | None:
        """Why this division is not worth carrying out; None if it is."""
        return self.divided.indivisible

    @property
    def parts(self) -> int:
        """The number of parts."""
        return len(self.divided.parts)

    def results_of(self, part: int) -> tuple[str, ...]:
        """Return the names of the results of a part, in order."""
        return self.files[part] if self.plan.results else ()


class WholePlan:
    """What is asked of a checkpoint. `header`: its first bytes, with the prefix. `version`: of this program.

    Raises: Refusal, PruningError, LayoutError for what cannot be done at all.
    """

    def __init__(self, options: pb.PruneOptions, header: bytes, version: str, settings: LocalSettings) -> None:
        reject_unknown_fields(options)
        self.options = options
        self.request: Request = request_of(options)
        self.version = version
        self.header = bytes(header)
        self.source = _layout(self.header, settings)
        _check_total(self.source, options)
        self.prepared: Prepared = prepare(self.request, self.source, 0, version, can_read_again=True)

    @property
    def result_header(self) -> bytes:
        """The header that all results would have in one file; empty where there is none, or it is not known yet."""
        return self.prepared.header

    @cached_property
    def result(self) -> Layout:
        """What that header says; without tensors where there is none."""
        if not self.result_header:
            return Layout((), {}, 0)
        return parse(self.result_header[PREFIX_BYTES:])

    @property
    def renamed(self) -> dict[str, str]:
        """What parameters and scales were called whose numbers change, by the names of their results."""
        return {new: name for name, new in self.prepared.plan.surgery.result_names.items() if new != name}

    @property
    def indivisible(self) -> str | None:
        """Why it cannot be carried out in parts, whatever these are; None if it may be."""
        output = self.prepared.output
        if not output.takes_weights:
            return f"output format {output.name} reads no weights"
        if output.header_is_late:
            return f"the sizes of the results of output format {output.name} are known only after all are pruned"
        if self.request.digests:
            return "digests are of whole files, read and written in order"
        if self.request.recipe.is_random and not self.options.recipe.HasField("seed"):
            return "every process would draw a seed of its own; see `seeded`"
        return None

    def messages(self, request_id: str, device: str) -> Iterator[pb.PruneResponse]:
        """Yield the messages of the plan, as a call would send them; its peak is that of one process."""
        prepared = self.prepared
        is_told = prepared.output.needs_units or not prepared.output.takes_weights
        last = pb.Plan(
            request_id=request_id,
            peak_bytes=prepared.peak_bytes,
            result_bytes=prepared.result_bytes,
            seed=prepared.plan.recipe.seed,
            device=device,
        )
        return plan_messages(prepared.plan, prepared.skipped if is_told else (), last)

    def divide(self, files: Sequence[Sequence[str]]) -> Division:
        """Divide it into parts: the names of the results of each, in the order in which they are written.

        Every result of the plan is in one of them, once. Without any results, parts are of PART_BYTES.
        Raises: ValueError for results that are missing, unknown, or named twice.
        """
        if self.indivisible is not None:
            raise ValueError(f"the plan cannot be carried out in parts: {self.indivisible}")
        plan = self.prepared.plan
        _check_names(plan, files)
        found = divided(plan, files) if plan.results else divided_by_size(plan, PART_BYTES)
        names = [b"\0".join(name.encode() for name in each) for each in files]
        options = self.options.SerializeToString(deterministic=True)
        name = fingerprint(self.version.encode(), options, self.header, *names)
        return Division(
            plan=replace(plan, searched=found.searched),
            divided=found,
            files=tuple(map(tuple, files)),
            prepared=self.prepared,
            header_bytes=self.source.header_bytes,
            name=name,
        )


def _layout(header: bytes, settings: LocalSettings) -> Layout:
    length = json_bytes(header[:PREFIX_BYTES])
    if length > settings.header_bytes or len(header) != PREFIX_BYTES + length:
        raise Refusal(
            reason=Reason.HEADER_TOO_LARGE if length > settings.header_bytes else Reason.INVALID_HEADER,
            message=f"the file's header says that it takes {length:,} bytes, {len(header) - PREFIX_BYTES:,} are given, "
            f"and at most {settings.header_bytes:,} are accepted (the setting PRUNING_HEADER_BYTES)",
        )
    return parsed_header(header[PREFIX_BYTES:], settings.max_tensors)


def _check_total(source: Layout, options: pb.PruneOptions) -> None:
    if options.total_bytes != source.total_bytes:
        raise Refusal(
            reason=Reason.TOTAL_BYTES_MISMATCH,
            message=f"total_bytes announced a file of {options.total_bytes:,} bytes, but its header describes "
            f"{source.total_bytes:,}",
            metadata={"field": "total_bytes"},
        )


def _check_names(plan: Plan, files: Sequence[Sequence[str]]) -> None:
    names = [name for each in files for name in each]
    results = {spec.name for spec in plan.results}
    if len(set(names)) < len(names) or set(names) != results:
        wrong = sorted(results.symmetric_difference(names)) or sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"every result must be in one part, once; see {', '.join(map(repr, wrong[:3]))}")
