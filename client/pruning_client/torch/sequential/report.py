"""What a run pruned, block by block."""

from dataclasses import dataclass
from typing import Any

from pruning_client.pages.shown import Shown, Summary


@dataclass(frozen=True, slots=True)
class PrunedBlock:
    """What one block lost: `entries` of its selected tensors, `pruned` of them in the result.

    `tokens` are those of the batches without padding; `is_resumed`: an earlier run pruned it.

    Example:
        >>> prune_sequentially(client, stack, [torch.randn(16, 4)], rules.sparsegpt(0.5)).blocks[0].path
        'layers.0'
    """

    path: str
    entries: int
    pruned: int
    tokens: int
    is_resumed: bool = False

    @property
    def sparsity(self) -> float:
        """The part of the selected entries that is pruned."""
        return self.pruned / self.entries if self.entries else 0.0


@dataclass(frozen=True, slots=True, repr=False)
class SequentialReport(Shown):
    """What a run pruned. `str` of it is a table.

    Units: entries; `sparsity` is a part of them, 0.0 to 1.0.
    Example:
        >>> prune_sequentially(client, stack, [torch.randn(16, 4)], rules.sparsegpt(0.5))
        <SequentialReport: 50.00% of 32 selected weights pruned in 2 blocks>
    """

    blocks: tuple[PrunedBlock, ...]

    @property
    def entries(self) -> int:
        """Entries of all selected tensors."""
        return sum(block.entries for block in self.blocks)

    @property
    def pruned(self) -> int:
        """Those that are pruned."""
        return sum(block.pruned for block in self.blocks)

    @property
    def sparsity(self) -> float:
        """The part of the selected entries that is pruned."""
        return self.pruned / self.entries if self.entries else 0.0

    @property
    def summary(self) -> Summary:
        """What notebooks and terminals show of it: a row for each block."""
        title = f"{self.sparsity:.2%} of {self.entries:,} selected weights pruned in {len(self.blocks)} blocks"
        return Summary(title, [_row(block) for block in self.blocks])

    def __str__(self) -> str:
        width = max(len("block"), *(len(block.path) for block in self.blocks))
        lines = [f"{'block':{width}}  {'entries':>14}  {'pruned':>14}  sparsity  {'tokens':>10}"]
        lines += [
            f"{block.path:{width}}  {block.entries:14,}  {block.pruned:14,}  {block.sparsity:8.2%}  "
            f"{block.tokens:10,}{'  from the folder' if block.is_resumed else ''}"
            for block in self.blocks
        ]
        lines.append(f"{'all':{width}}  {self.entries:14,}  {self.pruned:14,}  {self.sparsity:8.2%}")
        return "\n".join(lines)


def _row(block: PrunedBlock) -> dict[str, Any]:
    counts = {"entries": block.entries, "pruned": block.pruned, "sparsity": block.sparsity, "tokens": block.tokens}
    return {"block": block.path, **counts}
