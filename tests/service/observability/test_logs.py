"""The log: what it says of clients that misbehave."""

import time

from tests.campaigns.calls import encoded, line_to
from tests.campaigns.cuts import model
from tests.campaigns.observed import RESERVED, gauge, seconds_until_free
from tests.servers import running_server
from tests.service.raw import data, options, wait_until

LARGE = model(8, 65_536)


def test_a_client_that_vanishes_in_the_middle_of_a_write_leaves_one_line() -> None:
    with running_server() as server:
        with line_to(server.address) as line:
            call = line.unread(encoded([options(LARGE), *data(LARGE)]))
            assert wait_until(lambda: gauge(server, RESERVED) > 0)
            time.sleep(0.3)  # by now the server waits for the client to take its result
            call.cancel()
        seconds_until_free(server)
        assert wait_until(lambda: len(server.log) > 1)
        (line_of_call,) = server.log[1:]

    assert "outcome=CANCELLED" in line_of_call
