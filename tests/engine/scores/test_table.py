"""The tables of scores and granularities name every class once, under its name in the contract."""

from pruning_engine.granularities.granularity import Granularity
from pruning_engine.granularities.table import GRANULARITIES
from pruning_engine.scores.score import Score
from pruning_engine.scores.table import SCORES
from pruning_proto.v1 import pruning_pb2 as pb


def kinds_of(message: str) -> set[str]:
    return {field.name for field in pb.DESCRIPTOR.message_types_by_name[message].oneofs_by_name["kind"].fields}


def test_scores_are_those_of_the_contract() -> None:
    assert set(SCORES) == kinds_of("Score")


def test_granularities_are_those_of_the_contract() -> None:
    assert set(GRANULARITIES) == kinds_of("Granularity")


def test_no_score_or_granularity_is_missing_from_its_table() -> None:
    assert set(SCORES) == {score.field for score in Score.__subclasses__()}
    assert set(GRANULARITIES) == {granularity.field for granularity in Granularity.__subclasses__()}
