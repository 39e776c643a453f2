"""The first message of a call: parsed, validated and planned for a small model as a server does, or refused.

A rule that was taken is written into the history of the result: reading that must give the same rule.
"""

import dataclasses

from google.protobuf.message import DecodeError

from pruning_engine.errors import PruningError
from pruning_proto.safetensors.header import PREFIX_BYTES, build, parse
from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.calls.preparation import prepare
from pruning_service.messages.recipe import Request, recipe_of, request_of, rule_message
from pruning_service.status import Refusal
from pruning_service.streams.request_messages import parsed_options
from tests.fuzzing.refusals import check_refusal

MODEL = parse(
    build(
        [
            ("model.layers.0.fc1.weight", "F32", (8, 4)),
            ("model.layers.0.fc1.bias", "F32", (8,)),
            ("model.layers.0.fc1.weight:in_gram", "F64", (4, 4)),
            ("model.layers.0.fc2.weight", "BF16", (4, 8)),
            ("model.layers.1.fc1.weight", "F8_E4M3", (8, 4)),
            ("model.embed.weight", "F16", (16, 4)),
            ("counts", "I64", (3,)),
        ],
        {"format": "pt"},
    )[0][PREFIX_BYTES:]
)


def check(data: bytes) -> None:
    """Take the bytes for a message. Raises: AssertionError, or any error that is not a refusal."""
    request = _request(data)
    if request is None:
        return
    _check_history(request)
    try:
        prepared = prepare(request, MODEL, 1 << 20, "fuzzing")
    except (Refusal, PruningError) as error:
        check_refusal(error.reason, str(error))
        return
    assert prepared.peak_bytes >= 0


def _request(data: bytes) -> Request | None:
    try:
        return request_of(parsed_options(data))
    except DecodeError:  # the servicer refuses these as MALFORMED
        return None
    except (Refusal, PruningError) as error:
        check_refusal(error.reason, str(error))
        return None


def _check_history(request: Request) -> None:
    message = pb.Recipe(rules=map(rule_message, request.recipe.rules))
    again = recipe_of(pb.Recipe.FromString(message.SerializeToString()))
    expected = dataclasses.replace(request.recipe, seed=None)
    assert _comparable(again) == _comparable(expected), "read from the history it is another recipe"


def _comparable(value: object) -> object:
    """Return a value in which NaN equals itself and maps are in order, as text."""
    if isinstance(value, dict):
        return {name: _comparable(value[name]) for name in sorted(value)}
    if isinstance(value, tuple):
        return [_comparable(part) for part in value]
    if dataclasses.is_dataclass(value):
        fields = {field.name: _comparable(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return type(value).__name__, fields
    return repr(value)
