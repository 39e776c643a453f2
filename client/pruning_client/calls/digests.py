"""SHA-256 of what one attempt sent and received, held against what the server tells of the same bytes. For audit.

A digest that only the server takes says what it saw; that it is what the caller has, only the caller can say.
"""

import hashlib
from collections.abc import Iterable, Iterator

from pruning_client.errors import ProtocolError
from pruning_client.results.report import Report
from pruning_proto.framing import Data


class Digests:
    """The digests of one attempt, taken as its bytes go by."""

    def __init__(self) -> None:
        self._input = hashlib.sha256()
        self._result = hashlib.sha256()

    def sending(self, chunks: Iterable[Data]) -> Iterator[Data]:
        """Pass chunks on, each taken in before it is sent."""
        for chunk in chunks:
            self._input.update(chunk)
            yield chunk

    def received(self, data: Data) -> None:
        """Take in the bytes of the result that came."""
        self._result.update(data)

    def check(self, report: Report, *, has_result: bool) -> None:
        """Raise ProtocolError if the server saw, or sent, other bytes than were sent and came here."""
        _compare("input", "received another file than was sent", self._input.hexdigest(), report.input_sha256)
        if has_result:
            _compare("result", "sent another result than came", self._result.hexdigest(), report.result_sha256)


def _compare(which: str, what: str, here: str, there: str | None) -> None:
    field = f"report.{which}_sha256"
    if there is None:
        raise ProtocolError(f"{field}: digests were asked for, and the server told none", metadata={"field": field})
    if here != there:
        raise ProtocolError(
            f"{field}: the server {what}: its SHA-256 is {there} there and {here} here; nothing of the result counts. "
            "Something between changed the bytes: send it again, and look at proxies and memory",
            metadata={"field": field, "server": there, "client": here},
        )
