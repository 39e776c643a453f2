"""Errors from process to process: the same type, text and attributes, whatever their constructors."""

from datetime import timedelta

import pytest

from pruning_client.errors import InternalError, MismatchError, PruningError
from pruning_client.jobs.executors.carried_errors import packed_error, unpacked_error
from pruning_client.jobs.executors.on_worker import carry_out, result_of
from pruning_engine.errors import Reason as EngineReason
from pruning_engine.errors import RecipeError
from pruning_proto.reasons import Reason
from pruning_service.status import Refusal, Violation
from pruning_service.stores.errors import ObjectChangedError
from tests.client.jobs.executors.tasks import TwoPartsError

ERRORS: list[BaseException] = [
    KeyError("w"),
    TwoPartsError(tensor="w", reason="too small"),
    ObjectChangedError("s3://bucket/model.safetensors", "it changed"),
    Refusal(reason=Reason.MODEL_TOO_LARGE, message="too large", violations=(Violation("w", "too large"),)),
    MismatchError("no", reason="UNKNOWN", metadata={"tensor": "w"}, retry_after=timedelta(seconds=3)),
    RecipeError(EngineReason.AMOUNT_OUT_OF_RANGE, "must be less"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_error_is_the_same_in_another_process(error: BaseException) -> None:
    found = unpacked_error(packed_error(error))
    assert (type(found), str(found), vars(found)) == (type(error), str(error), vars(error))


def test_number_and_file_of_an_operating_system_error_are_kept() -> None:
    found = unpacked_error(packed_error(ObjectChangedError("s3://bucket/key", "it changed")))
    assert isinstance(found, ObjectChangedError)
    assert (found.errno, found.filename) == (ObjectChangedError.number, "s3://bucket/key")


def test_cause_has_the_traceback_of_the_other_process() -> None:
    try:
        raise KeyError("w")
    except KeyError as error:
        data = packed_error(error)
    assert "test_carried_errors.py" in str(unpacked_error(data).__cause__)


def test_error_that_cannot_be_pickled_is_described() -> None:
    class LocalError(Exception):
        """Of a class that no other process can import."""

    found = unpacked_error(packed_error(LocalError("of here")))
    assert isinstance(found, InternalError)
    assert str(found) == "LocalError: of here"


def test_worker_of_another_version_refuses_the_task() -> None:
    packed = __import__("pickle").dumps(("0.0.7", "write-3", b""))
    with pytest.raises(PruningError, match=r"write-3 was given to a worker with pruning-service .* with 0\.0\.7"):
        result_of(carry_out(packed))
