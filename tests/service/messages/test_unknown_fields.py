"""Parts of a message that are unknown: few are named, many are refused together."""

import pytest
from google.protobuf.unknown_fields import UnknownFieldSet

from pruning_proto import limits
from pruning_proto.reasons import Reason
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.messages.unknown_fields import MOST_BYTES, reject_unknown_fields
from pruning_service.status import Refusal

FIELD_200 = b"\xc0\x0c\x01"


def refusal_of(message: pb.PruneOptions) -> Refusal:
    with pytest.raises(Refusal) as caught:
        reject_unknown_fields(message)
    assert caught.value.reason == Reason.UNSUPPORTED_FIELD
    return caught.value


def test_at_most_twenty_are_named() -> None:
    message = pb.PruneOptions.FromString(FIELD_200 * 30)
    assert len(UnknownFieldSet(message)) == 30
    assert len(refusal_of(message).violations) == limits.VIOLATIONS == 20


def test_many_are_refused_without_a_look_at_each() -> None:
    content = FIELD_200 * (MOST_BYTES // len(FIELD_200) + 1)
    refusal = refusal_of(pb.PruneOptions.FromString(content))
    assert refusal.violations == ()
    assert f"has {len(content):,} bytes of fields" in refusal.message


def test_many_in_a_nested_message_are_refused_too() -> None:
    rule = pb.Rule.FromString(FIELD_200 * MOST_BYTES)
    assert refusal_of(pb.PruneOptions(recipe=pb.Recipe(rules=[rule]))).violations == ()


def test_known_fields_pass_however_many() -> None:
    select = pb.Selector(exclude=["a"] * 10_000)
    reject_unknown_fields(pb.PruneOptions(recipe=pb.Recipe(rules=[pb.Rule(select=select)])))
