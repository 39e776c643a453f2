"""What a request for a job may say: each refusal names its field."""

from collections.abc import Callable

import pytest

from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.jobs.requests import LABELS, check_request
from pruning_service.status import Refusal
from pruning_service.stores.uris import StoreUri
from tests.service.jobs.stored import request

Request = pb.PruneCheckpointRequest

PLACE = StoreUri.parse("s3://bucket/models")

REFUSED: dict[str, tuple[Callable[[Request], object], str, str]] = {
    "no name": (lambda r: r.ClearField("name"), "INVALID_JOB", "name"),
    "a path as name": (lambda r: setattr(r, "name", "../x"), "INVALID_JOB", "name"),
    "no source": (lambda r: r.ClearField("source"), "INVALID_JOB", "source"),
    "a path as source": (lambda r: setattr(r, "source", "/models/x"), "INVALID_JOB", "source"),
    "a whole bucket": (lambda r: setattr(r, "source", "s3://bucket"), "INVALID_JOB", "source"),
    "an unknown scheme": (lambda r: setattr(r, "target", "https://host/x"), "INVALID_JOB", "target"),
    "a long URI": (lambda r: setattr(r, "target", "s3://b/" + "x" * 1024), "INVALID_JOB", "target"),
    "a target in the source": (lambda r: setattr(r, "target", r.source + "/x"), "INVALID_JOB", "target"),
    "a source in the target": (lambda r: setattr(r, "source", r.target + "/x"), "INVALID_JOB", "target"),
    "the same place": (lambda r: setattr(r, "target", r.source), "INVALID_JOB", "target"),
    "statistics in the target": (lambda r: setattr(r, "statistics", r.target + "/s"), "INVALID_JOB", "statistics"),
    "a query": (lambda r: setattr(r, "statistics", "s3://b/x?versionId=1"), "INVALID_JOB", "statistics"),
    "no rule": (lambda r: r.options.recipe.ClearField("rules"), "INVALID_RECIPE", "options.recipe.rules"),
    "an amount": (
        lambda r: setattr(r.options.recipe.rules[0].amount, "fraction", 2.0),
        "AMOUNT_OUT_OF_RANGE",
        "options.recipe.rules[0].amount.fraction",
    ),
    "a size": (lambda r: setattr(r.options, "total_bytes", 9), "INVALID_JOB", "options.total_bytes"),
    "sparsities": (lambda r: r.options.scan_sparsities.append(0.5), "INVALID_JOB", "options.scan_sparsities"),
    "a plan": (lambda r: setattr(r.options, "output", pb.OUTPUT_FORM_PLAN), "INVALID_JOB", "options.output"),
    "canonical zeros": (
        lambda r: setattr(r.options, "canonical_zero", True),
        "INVALID_RECIPE",
        "options.canonical_zero",
    ),
    "compression": (
        lambda r: setattr(r.options, "compression", pb.COMPRESSION_ZSTD),
        "INVALID_RECIPE",
        "options.compression",
    ),
    "an unknown output": (lambda r: setattr(r.options, "output", 99), "UNSUPPORTED_FIELD", "options.output"),
    "an unknown field": (lambda r: r.MergeFromString(b"\xa2\x06\x01x"), "UNSUPPORTED_FIELD", "<field 100>"),
    "an unknown field inside": (
        lambda r: r.MergeFromString(b"\x22\x04\xa2\x06\x01x"),
        "UNSUPPORTED_FIELD",
        "options.<field 100>",
    ),
    "no time": (lambda r: r.timeout.FromSeconds(0), "INVALID_JOB", "timeout"),
    "less than no time": (lambda r: r.timeout.FromSeconds(-1), "INVALID_JOB", "timeout"),
    "many labels": (
        lambda r: r.labels.update({f"k{number}": "" for number in range(LABELS + 1)}),
        "INVALID_JOB",
        "labels",
    ),
    "an empty label": (lambda r: r.labels.update({"": "x"}), "INVALID_JOB", 'labels[""]'),
    "a long label": (lambda r: r.labels.update({"k": "x" * 64}), "INVALID_JOB", 'labels["k"]'),
    "a label of two lines": (lambda r: r.labels.update({"k": "a\nb"}), "INVALID_JOB", 'labels["k"]'),
}


def test_a_whole_request_is_taken() -> None:
    asked = request(PLACE)
    asked.statistics = "s3://bucket/statistics.safetensors"
    asked.timeout.FromSeconds(60)
    asked.labels.update({"team": "a", "commit": "0" * 40})

    check_request(asked)


@pytest.mark.parametrize(("change", "reason", "field"), REFUSED.values(), ids=REFUSED)
def test_a_fault_is_refused_by_its_path(change: Callable[[Request], object], reason: str, field: str) -> None:
    asked = request(PLACE)
    change(asked)

    with pytest.raises(Refusal) as refused:
        check_request(asked)
    assert refused.value.reason == reason
    assert refused.value.violations[0].field == field
