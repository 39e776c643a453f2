"""Groups of experts as config.json counts them."""

from dataclasses import replace
from typing import Final

from pruning_client.huggingface.experts.counts import EXPERT_MAPS
from pruning_client.results.group_report import GroupReport

COUNT: Final = "num_experts"
"""The field that counts experts, by one of its names."""


def counted(group: GroupReport) -> GroupReport:
    """Return the group with the field that counts its experts, if it is one of experts."""
    return replace(group, config={COUNT: len(group.kept)}) if group.map in EXPERT_MAPS else group
