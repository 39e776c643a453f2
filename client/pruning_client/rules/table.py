"""The table of builders by their names: what a recipe file may name as a rule's method.

The package's `__init__` fills it: rules print as calls of builders, which return rules.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pruning_client.recipes.short_rules import Built  # imports protobuf's JSON

BUILDERS: Final[dict[str, Callable[..., "Built"]]] = {}
