"""What a request for a job may say, checked before anything is opened."""

from typing import Final

from pruning_engine.errors import PruningError
from pruning_proto import formats
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.jobs.names import NAME_RULE, is_job_name
from pruning_service.messages.recipe import request_of
from pruning_service.messages.unknown_fields import reject_unknown_fields
from pruning_service.status import Refusal, Violation, refusal_of
from pruning_service.stores.uris import StoreUri, UriError

LABELS: Final = 32
LABEL_CHARACTERS: Final = 63
URI_CHARACTERS: Final = 1024

_NOT_OF_JOBS: Final = ("total_bytes", "leaves_out_skipped", "scan_sparsities", "skip_unused_auxiliary")


def check_request(request: pb.PruneCheckpointRequest) -> None:
    """Refuse a request that no server can carry out. Raises: Refusal with the path of what is wrong."""
    reject_unknown_fields(request)
    if not is_job_name(request.name):
        raise invalid("name", f"a job's name is {NAME_RULE}; got {request.name[:URI_CHARACTERS]!r}")
    _check_places(request)
    _check_options(request.options)
    _check_timeout(request)
    _check_labels(request)


def invalid(field: str, description: str) -> Refusal:
    """Return the refusal of one field of a request."""
    return Refusal(
        reason=Reason.INVALID_JOB,
        message=f"{field}: {description}",
        violations=(Violation(field, description),),
        metadata={"field": field},
    )


def _check_places(request: pb.PruneCheckpointRequest) -> None:
    source, target = _uri("source", request.source), _uri("target", request.target)
    if source.contains(target) or target.contains(source):
        raise invalid("target", "source and target are two places, neither inside the other")
    if request.statistics and target.contains(_uri("statistics", request.statistics)):
        raise invalid("statistics", "they are not below the target, where nothing is yet")


def _uri(field: str, text: str) -> StoreUri:
    if len(text) > URI_CHARACTERS:
        raise invalid(field, f"a URI has at most {URI_CHARACTERS:,} characters, got {len(text):,}")
    try:
        uri = StoreUri.parse(text)
    except UriError as error:
        raise invalid(field, str(error)) from error
    if not uri.path:
        raise invalid(field, f"a file or a folder is named, not a whole store; got {text}")
    return uri


def _check_options(options: pb.PruneOptions) -> None:
    for name in _NOT_OF_JOBS:
        if getattr(options, name):
            raise invalid(f"options.{name}", "a job takes none; leave it out")
    output = formats.BY_NUMBER[options.output]
    if not output.has_file:
        raise invalid("options.output", f"a job writes a checkpoint, and {output.name} has none")
    try:
        request_of(options)
    except (PruningError, Refusal) as error:
        raise _inside_options(refusal_of(error, "")) from error


def _inside_options(refusal: Refusal) -> Refusal:
    """Return a refusal of the options with the paths of the request that they are in."""
    return Refusal(
        reason=refusal.reason,
        message=f"options.{refusal.message}" if "field" in refusal.metadata else refusal.message,
        violations=tuple(
            Violation(f"options.{violation.field}", violation.description) for violation in refusal.violations
        ),
        metadata={key: f"options.{value}" if key == "field" else value for key, value in refusal.metadata.items()},
    )


def _check_timeout(request: pb.PruneCheckpointRequest) -> None:
    if request.HasField("timeout") and not request.timeout.ToNanoseconds() > 0:
        raise invalid("timeout", "a timeout is more than 0 seconds; leave it out for none")


def _check_labels(request: pb.PruneCheckpointRequest) -> None:
    if len(request.labels) > LABELS:
        raise invalid("labels", f"at most {LABELS} labels are allowed, got {len(request.labels)}")
    for key, value in request.labels.items():
        if not 0 < len(key) <= LABEL_CHARACTERS or len(value) > LABEL_CHARACTERS:
            shown = key[:LABEL_CHARACTERS]
            raise invalid(
                f'labels["{shown}"]', f"a label's key has 1 to {LABEL_CHARACTERS} characters, its value up to so many"
            )
        if not (key + value).isprintable():
            raise invalid(f'labels["{key}"]', "labels are text without control characters")
