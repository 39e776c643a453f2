"""Statistics of a part of a rule: the first of alternatives is used, and one of each is needed."""

import re
from typing import ClassVar

import pytest

from pruning_engine.checkpoints.statistics import Alternatives, UsesStatistics
from pruning_engine.errors import MismatchError, Reason
from pruning_proto.names import IN_COUNT, IN_GRAM, IN_SUM2, INPUTS


class Part(UsesStatistics):
    statistics: ClassVar[tuple[Alternatives, ...]] = ((IN_SUM2, IN_GRAM), (IN_GRAM, INPUTS))
    optional_statistics: ClassVar[tuple[Alternatives, ...]] = ((IN_COUNT,),)


@pytest.mark.parametrize(
    ("present", "used"),
    [
        ((IN_GRAM,), (IN_GRAM,)),
        ((IN_SUM2, IN_GRAM, IN_COUNT), (IN_SUM2, IN_GRAM, IN_COUNT)),
        ((INPUTS, IN_SUM2), (IN_SUM2, INPUTS)),
    ],
)
def test_first_of_the_alternatives_is_used(present: tuple[str, ...], used: tuple[str, ...]) -> None:
    assert Part().used_statistics(present) == used
    Part().check_statistics("w", present, "rules[0].update")


def test_missing_statistic_is_refused_with_what_would_do() -> None:
    what = "'w:in_gram' (the Gram matrix of its inputs) or 'w:inputs'"
    with pytest.raises(MismatchError, match=re.escape(what)) as refused:
        Part().check_statistics("w", (IN_SUM2, IN_COUNT), "rules[0].update")
    assert refused.value.reason is Reason.MISSING_COMPANION
    assert (refused.value.path, refused.value.tensor) == ("recipe.rules[0].update", "w")
