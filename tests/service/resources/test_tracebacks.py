"""A reported error holds nothing of its call: Python frees it at once, without looking for garbage."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from pruning_service.status import drop_tracebacks


class Model:
    """Something large in a variable of a frame."""


@pytest.fixture(autouse=True)
def _no_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def failed(model: Model) -> Exception:
    """Return an error that went through frames in which `model` is, as the one that another led to."""
    try:
        try:
            raise ValueError(id(model))
        except ValueError as error:
            raise RuntimeError from error
    except RuntimeError as error:
        errors = [error]  # the frame has its error, and the error its frame
    return errors[0]


def test_frames_of_an_error_are_free_once_it_is_let_go() -> None:
    model = Model()
    seen = weakref.ref(model)
    error = failed(model)
    del model
    assert seen() is not None

    drop_tracebacks(error)

    assert seen() is None


def test_errors_that_name_each_other_are_let_go_too() -> None:
    one, other = ValueError(), TypeError()
    one.__context__, other.__cause__ = other, one

    drop_tracebacks(one)

    assert other.__traceback__ is None


def test_no_error_is_nothing_to_let_go() -> None:
    drop_tracebacks(None)
