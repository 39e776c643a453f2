"""Numbers both sides agree on fit into each other."""

from pruning_proto import framing, limits
from pruning_proto.v1.pruning_pb2 import Failure, FieldViolation


def test_chunk_with_its_prefix_fits_into_a_message() -> None:
    assert len(framing.encode(bytes(limits.CHUNK_BYTES))) < limits.MESSAGE_BYTES


def test_description_fits_into_a_message_with_room_for_what_surrounds_it() -> None:
    assert 2 * limits.DESCRIPTION_BYTES <= limits.MESSAGE_BYTES


def test_servers_default_header_is_within_the_formats_limit() -> None:
    assert limits.HEADER_BYTES <= limits.HEADER_BYTES_CEILING == 100_000_000


def test_failure_with_its_most_violations_stays_below_the_8_kib_of_metadata() -> None:
    violation = FieldViolation(field="recipe.rules[99].score.importance_scores.norm.p", description="x" * 150)
    failure = Failure(message="x" * limits.STATUS_MESSAGE_BYTES, violations=[violation] * limits.VIOLATIONS)
    assert failure.ByteSize() < 8 * 1024
