"""Options become requests; short recipes stay parsed, and nothing that was drawn for one call does."""

import pytest

from pruning_proto.v1 import pruning_pb2 as pb
from pruning_service.messages import recipe as recipes
from pruning_service.messages.recipe import KEPT_BYTES, request_of
from pruning_service.status import Refusal
from pruning_service.streams.request_messages import parsed_options

RANDOM = pb.Rule(score=pb.Score(random=pb.RandomScore()), amount=pb.Amount(fraction=0.5))


def options(*rules: pb.Rule, **fields: int) -> pb.PruneOptions:
    return pb.PruneOptions(recipe=pb.Recipe(rules=rules), **fields)  # type: ignore[arg-type]  # by the fields' names


def named(length: int) -> pb.Rule:
    rule = pb.Rule()
    rule.CopyFrom(RANDOM)
    rule.select.include.append("n" * length)
    return rule


def test_short_recipes_stay_parsed() -> None:
    first, second = request_of(options(RANDOM, total_bytes=1)), request_of(options(RANDOM, total_bytes=2))
    assert first.recipe.rules is second.recipe.rules


def test_long_recipes_are_parsed_anew() -> None:
    first, second = request_of(options(named(KEPT_BYTES))), request_of(options(named(KEPT_BYTES)))
    assert first.recipe.rules is not second.recipe.rules
    assert first.recipe.rules == second.recipe.rules


def test_each_call_draws_its_own_seed() -> None:
    assert request_of(options(RANDOM)).recipe.seed != request_of(options(RANDOM)).recipe.seed


def test_invalid_recipes_are_refused_each_time() -> None:
    for _ in range(2):
        with pytest.raises(Refusal, match="a score is required"):
            request_of(options(pb.Rule()))


def test_unknown_fields_are_refused_each_time() -> None:
    raw = pb.PruneRequest(options=options(RANDOM)).SerializeToString() + b"\xc0\x0c\x01"
    for _ in range(2):
        with pytest.raises(Refusal, match="<field 200>"):
            parsed_options(raw)


def test_recipes_that_stay_are_limited_in_number() -> None:
    assert recipes._checked_short.cache_info().maxsize == recipes.KEPT_RECIPES == 64
