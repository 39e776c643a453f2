"""Coupled channels: pruned in every tensor of their group, or in none."""

from dataclasses import dataclass
from typing import ClassVar

from pruning_engine.granularities.channel_groups import (
    ChannelGroup,
    check_group,
    check_least,
    is_running_statistic,
    refuse,
)
from pruning_engine.granularities.granularity import Granularity
from pruning_engine.granularities.maps.builtin_groups import check_map
from pruning_engine.granularities.ranking import Ranking, RankingContext
from pruning_engine.granularities.rankings.unit_ranking import UnitRanking
from pruning_engine.granularities.unit_choice import Widths
from pruning_engine.scope import Scope
from pruning_engine.scores.parameters import DescribedParameter
from pruning_engine.scores.score import Score


@dataclass(frozen=True, slots=True, kw_only=True)
class Units(Granularity):
    """Coupled channels are pruned: in every tensor of their group, or in none.

    `map`: a built-in map by name (see builtin_groups.py), whose groups come before `groups`. The number of units kept
    in each group is rounded up to a multiple of `round_to`; with `same_width` all groups of one pattern keep the same,
    with `own_widths` even those do not whose number a field of config.json has. Each keeps `least_kept` at least. The
    units are `balanced_blocks` blocks of consecutive ones, of which each keeps the same number. `always_kept` are
    units of every group that are not pruned, whatever they are worth.
    """

    field: ClassVar[str] = "units"
    holder: ClassVar[str] = "group"
    holders: ClassVar[str] = "the groups"
    takes_select: ClassVar[bool] = False
    takes_norm: ClassVar[bool] = True
    is_removable: ClassVar[bool] = True

    groups: tuple[ChannelGroup, ...] = ()
    map: str = ""
    head_dim: int | None = None
    round_to: int = 1
    same_width: bool = False
    least_kept: int = 1
    balanced_blocks: int = 1
    own_widths: bool = False
    always_kept: tuple[int, ...] = ()

    def check(self, path: str) -> None:
        """Refuse groups that are invalid for any checkpoint. Raises: RecipeError with the path of the field."""
        if not self.groups and not self.map:
            refuse(f"{path}.groups", "name the coupled channels: groups, or a map by name")
        check_least(self.round_to, 1, f"{path}.round_to")
        check_least(self.least_kept, 1, f"{path}.least_kept")
        check_least(self.balanced_blocks, 1, f"{path}.balanced_blocks")
        if self.head_dim is not None:
            check_least(self.head_dim, 1, f"{path}.head_dim")
        if self.own_widths and self.same_width:
            refuse(f"{path}.own_widths", "groups cannot have the same width and widths of their own; leave one out")
        if len(set(self.always_kept)) < len(self.always_kept):
            refuse(f"{path}.always_kept", "a unit is given twice; give each once")
        if self.always_kept and self.balanced_blocks > 1:
            refuse(f"{path}.always_kept", "blocks that keep the same number each have none; leave one of the two out")
        for position, group in enumerate(self.groups):
            check_group(group, f"{path}.groups[{position}]")
        check_map(self.map, self.head_dim, path)

    def counts_zeros_of(self, name: str) -> bool:
        """Whether zeros count as pruned: not those of running statistics, which are values like others."""
        return not is_running_statistic(name)

    def ranking_bytes(self, score: Score, parameter: DescribedParameter, scope: Scope) -> int:  # noqa: ARG002
        """Return 0: sums of positions are counted by their number, and statistics with the tensors that have them."""
        return 0

    @property
    def widths(self) -> Widths:
        """What it says of how many units each group keeps."""
        return Widths(self.round_to, self.balanced_blocks, self.always_kept)

    def ranking(self, context: RankingContext) -> Ranking:
        """Return a rule that prunes the coupled channels of its groups."""
        return UnitRanking(self, context, self.widths)
