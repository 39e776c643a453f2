"""How long a call may take."""

import math
from typing import Any

import pytest

from pruning_client.transport.timeouts import LONGEST_SECONDS, check, deadline


@pytest.mark.parametrize("timeout", [math.nan, 0, 0.0, -1, -math.inf, True, "5", None], ids=repr)
def test_timeout_that_is_no_time_is_refused(timeout: Any) -> None:
    with pytest.raises(ValueError, match="a timeout is more than 0 seconds"):
        check(timeout)


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
