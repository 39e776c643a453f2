"""Interrupts of the main thread: they reach whoever waits, and nothing that a call is in the midst of."""

import os
import signal
import threading
import weakref
from contextvars import ContextVar
from functools import partial

import pytest

from pruning_client.transport.main_thread import run_outside_main_thread
from tests.service.raw import wait_until


class WorkError(Exception):
    """What work raises."""


def fail() -> None:
    raise WorkError


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_work_of_the_main_thread_is_done_in_another() -> None:
    assert run_outside_main_thread(threading.current_thread) is not threading.main_thread()


def test_the_thread_that_did_the_work_before_does_the_next() -> None:
    run_outside_main_thread(threading.get_ident)
    assert len({run_outside_main_thread(threading.get_ident) for _ in range(10)}) == 1


def test_thread_lets_go_of_the_work_it_did() -> None:
    class Model:
        pass

    model = Model()
    alive = weakref.ref(model)
    run_outside_main_thread(partial(id, model))
    del model
    wait_until(lambda: alive() is None)
    assert alive() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_fork_starts_a_thread_of_its_own() -> None:
    run_outside_main_thread(threading.get_ident)
    child = os.fork()
    if child == 0:
        os._exit(run_outside_main_thread(lambda: 7))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_work_of_another_thread_is_done_there() -> None:
    found: list[threading.Thread] = []
    thread = threading.Thread(target=lambda: found.append(run_outside_main_thread(threading.current_thread)))
    thread.start()
    thread.join()
    assert found == [thread]


def test_work_sees_the_context_of_the_caller() -> None:
    variable = ContextVar("variable", default="none")
    variable.set("the caller's")
    assert run_outside_main_thread(variable.get) == "the caller's"


def test_error_of_the_work_reaches_the_caller() -> None:
    with pytest.raises(WorkError):
        run_outside_main_thread(fail)


def test_interrupt_ends_the_work_and_waits_for_it() -> None:
    may_end, events = threading.Event(), []

    def work() -> None:
        interrupt()
        may_end.wait(20)
        events.append("stopped")

    def end() -> None:
        events.append("told to")
        may_end.set()

    with pytest.raises(KeyboardInterrupt):
        run_outside_main_thread(work, end)
    assert events == ["told to", "stopped"]


def test_interrupt_leaves_work_to_itself_that_cannot_be_ended() -> None:
    may_end = threading.Event()

    def work() -> None:
        interrupt()
        may_end.wait(20)

    with pytest.raises(KeyboardInterrupt):
        run_outside_main_thread(work)
    may_end.set()
