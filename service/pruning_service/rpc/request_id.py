"""The name of a call, in its reply and in the log."""

import secrets
from typing import Any

from pruning_proto.names import REQUEST_ID_KEY


async def named(context: Any) -> str:
    """Give the call its id, which the reply begins with, whatever comes of it."""
    request_id = secrets.token_hex(8)
    await context.send_initial_metadata(((REQUEST_ID_KEY, request_id),))
    return request_id
