"""When a call is tried again, how long it waits first, and how long it may take in all."""

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from grpc import StatusCode

from pruning_client.errors import CapacityError, PruningError, UnavailableError
from pruning_client.transport.retry import (
    FIRST_WAIT_SECONDS,
    LONGEST_SECONDS,
    LONGEST_WAIT_SECONDS,
    STALLED_SECONDS,
    Attempts,
    check_retries,
    check_timeout,
    deadline,
    is_passing,
)
from pruning_proto.reasons import TABLE, Reason

PASSING = (Reason.SHUTTING_DOWN, Reason.STORE_UNAVAILABLE, Reason.EXECUTOR_UNAVAILABLE)
SECOND = timedelta(seconds=1)


class Clock:
    """Time that passes when a test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def attempts(retries: int = 3, seconds: float | None = None, draw: float = 1.0, clock: Clock | None = None) -> Attempts:
    return Attempts(retries, seconds, clock or Clock(), lambda: draw)


def away(message: str = "away") -> PruningError:
    return UnavailableError(message, code=StatusCode.UNAVAILABLE)


def no_room() -> PruningError:
    return CapacityError("no", reason=Reason.NO_ROOM, code=StatusCode.RESOURCE_EXHAUSTED, retry_after=SECOND)


def waits(tries: Attempts, fail: Callable[[], PruningError] = away) -> list[float]:
    """All waits, until there is no further attempt."""
    waited = []
    while (wait := tries.wait_after(fail())) is not None:
        waited.append(wait)
    return waited


@pytest.mark.parametrize("code", StatusCode, ids=lambda code: code.name)
def test_what_nobody_of_this_contract_said_is_tried_again_unless_it_stays(code: StatusCode) -> None:
    stays = {
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.UNIMPLEMENTED,
        StatusCode.UNAUTHENTICATED,
        StatusCode.PERMISSION_DENIED,
        StatusCode.RESOURCE_EXHAUSTED,
        StatusCode.INVALID_ARGUMENT,
    }
    assert is_passing(PruningError("no", code=code)) is (code not in stays)


@pytest.mark.parametrize("reason", Reason)
def test_refusal_stays_unless_the_server_or_a_store_may_be_there_again(reason: Reason) -> None:
    assert is_passing(PruningError("no", reason=reason, code=StatusCode[TABLE[reason].code.name])) is (
        reason in PASSING
    )


def test_server_that_says_when_is_tried_again() -> None:
    assert is_passing(no_room())


def test_what_was_found_on_this_side_stays() -> None:
    assert not is_passing(PruningError("the server sent a plan after the last one"))


def test_waits_double() -> None:
    assert waits(attempts(3)) == [FIRST_WAIT_SECONDS, 2 * FIRST_WAIT_SECONDS, 4 * FIRST_WAIT_SECONDS]


def test_waits_end_growing() -> None:
    assert waits(attempts(2000))[-1] == LONGEST_WAIT_SECONDS


@pytest.mark.parametrize("draw", [0.0, 0.25], ids=["at once", "a quarter"])
def test_wait_is_drawn_from_all_there_is(draw: float) -> None:
    assert waits(attempts(1, draw=draw)) == [draw * FIRST_WAIT_SECONDS]


def test_wait_is_no_shorter_than_the_server_said() -> None:
    assert waits(attempts(1, draw=0.0), no_room) == [1.0]


def test_no_retries_is_one_attempt() -> None:
    assert waits(attempts(0)) == []


@pytest.mark.parametrize(("seconds", "expected"), [(0.4, []), (0.6, [0.5])], ids=["would be over", "is enough"])
def test_wait_that_would_pass_the_deadline_is_not_begun(seconds: float, expected: list[float]) -> None:
    assert waits(attempts(1, seconds)) == expected


def test_deadline_is_one_for_all_attempts() -> None:
    clock = Clock()
    tries = attempts(3, 10.0, clock=clock)
    clock.now += 4
    tries.wait_after(away())
    assert (tries.number, tries.seconds_left) == (2, 6.0)


def test_call_without_end_has_attempts_without_end() -> None:
    assert attempts(3, None).seconds_left is None


def test_last_error_tells_how_many_attempts_there_were_and_how_the_others_ended() -> None:
    tries = attempts(1)
    tries.wait_after(away())
    last = away("still away")
    assert tries.wait_after(last) is None
    assert (str(last), last.attempts) == ("still away (tried 2 times)", 2)
    assert last.__notes__ == ["attempt 1: away"]


def test_attempts_that_ended_alike_are_told_in_one_line() -> None:
    tries = attempts(4)
    last = away()
    for error in (away(), away(), away("busy"), away(), last):
        tries.wait_after(error)
    assert last.__notes__ == ["attempts 1 to 2: away", "attempt 3: busy", "attempt 4: away"]


def test_error_of_a_single_attempt_tells_nothing_of_attempts() -> None:
    error = away()
    attempts(0).wait_after(error)
    assert str(error) == "away"


@pytest.mark.parametrize("retries", [-1, True, 1.5, "3", None], ids=repr)
def test_what_is_no_number_of_retries_is_refused(retries: Any) -> None:
    with pytest.raises(ValueError, match="retries are 0 or more"):
        check_retries(retries)


@pytest.mark.parametrize("timeout", [math.nan, 0, 0.0, -1, -math.inf, True, "5", None], ids=repr)
def test_timeout_that_is_no_time_is_refused(timeout: Any) -> None:
    with pytest.raises(ValueError, match="a timeout is more than 0 seconds"):
        check_timeout(timeout)


@pytest.mark.parametrize(
    ("of_call", "of_client", "expected"),
    [
        pytest.param(1, 2.0, 1.0, id="the call's first"),
        pytest.param(None, 2.0, 2.0, id="then the client's"),
        pytest.param(None, None, 30.0, id="then the default"),
        pytest.param(math.inf, 2.0, None, id="infinity is no deadline"),
        pytest.param(1e30, None, LONGEST_SECONDS, id="huge is what gRPC takes"),
    ],
)
def test_deadline_is_what_was_said_nearest(
    of_call: float | None, of_client: float | None, expected: float | None
) -> None:
    assert deadline(of_call, of_client, 30.0) == expected


def test_default_limit_moves_with_progress() -> None:
    clock = Clock()
    tries = Attempts(0, 40.0, clock, lambda: 1.0, is_extended=True)
    note: Callable[[object], object] | None = tries.noting(None)
    assert note is not None
    clock.now += 35
    note("progress")
    assert tries.seconds_left == STALLED_SECONDS
    clock.now += STALLED_SECONDS
    assert tries.seconds_left == 0


def test_progress_never_shortens_the_default_limit() -> None:
    tries = Attempts(0, 1000.0, Clock(), lambda: 1.0, is_extended=True)
    note: Callable[[object], object] | None = tries.noting(None)
    assert note is not None
    note("progress")
    assert tries.seconds_left == 1000


def test_limit_of_the_caller_stays() -> None:
    tries = attempts(seconds=40.0)
    assert tries.noting(None) is None
    assert tries.deadline == 40
