"""SHA-256 of what one attempt sent and received, compared with what the server reports for the same bytes. For audits.

The server's digest says what it received; only the caller's own says that this is what the caller has.
"""

import hashlib
from collections.abc import Iterable, Iterator

from pruning_client.errors import ProtocolError
from pruning_client.results.report import Report
from pruning_proto.framing import Data


class Digests:
    """The digests of one attempt, computed as its bytes pass."""

    def __init__(self) -> None:
        self._input = hashlib.sha256()
        self._result = hashlib.sha256()

    def sending(self, chunks: Iterable[Data]) -> Iterator[Data]:
        """Return the chunks, each hashed before it is sent."""
        for chunk in chunks:
            self._input.update(chunk)
            yield chunk

    def received(self, data: Data) -> None:
        """Hash bytes of the result."""
        self._result.update(data)

    def check(self, report: Report, *, has_result: bool) -> None:
        """Raise ProtocolError if the server received, or sent, other bytes than were sent and received here."""
        _compare("input", "received another file than was sent", self._input.hexdigest(), report.input_sha256)
        if has_result:
            _compare("result", "sent another result than came", self._result.hexdigest(), report.result_sha256)


def _compare(which: str, difference: str, here: str, reported: str | None) -> None:
    field = f"report.{which}_sha256"
    if reported is None:
        raise ProtocolError(f"{field}: digests were asked for, and the server told none", metadata={"field": field})
    if here != reported:
        raise ProtocolError(
            f"{field}: the server {difference}: its SHA-256 is {reported} there and {here} here; "
            "nothing of the result counts. Something between changed the bytes: send it again, and look at proxies "
            "and memory",
            metadata={"field": field, "server": reported, "client": here},
        )
