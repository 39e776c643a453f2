"""Where the blocks of a weight are: rectangles of output channels by input channels. Knows names and shapes only."""

from dataclasses import dataclass

from pruning_engine.kernels.input_matrix import UnfitInputDimError, input_layout, is_of_experts


class UnfitBlocksError(Exception):
    """A weight is not whole blocks; the message says of what sizes it is."""


@dataclass(frozen=True, slots=True)
class BlockLayout:
    """A weight as `matrices` of stored rows by stored columns, cut into blocks of `height` by `width` of these.

    `is_transposed`: whether stored rows are input channels, so that a block's `height` is its number of inputs.
    """

    matrices: int
    stored_rows: int
    stored_columns: int
    height: int
    width: int
    is_transposed: bool

    @property
    def entries(self) -> int:
        """Entries of the whole weight."""
        return self.matrices * self.stored_rows * self.stored_columns

    @property
    def strips(self) -> int:
        """Rows of blocks of all matrices, as they are stored: runs of `strip_entries` entries."""
        return self.matrices * self.stored_rows // self.height

    @property
    def strip_entries(self) -> int:
        """Entries of one row of blocks."""
        return self.height * self.stored_columns

    @property
    def blocks_of_strip(self) -> int:
        """Blocks of one row of blocks."""
        return self.stored_columns // self.width

    @property
    def blocks(self) -> int:
        """Blocks of the whole weight."""
        return self.strips * self.blocks_of_strip


def block_layout(name: str, shape: tuple[int, ...], input_dim: int | None, rows: int, columns: int) -> BlockLayout:
    """Return the blocks of `rows` output channels by `columns` input channels of a weight.

    `input_dim`: None is that of a Linear, a Conv, or of experts that are stacked as (E, out, in).
    Raises: UnfitBlocksError.
    """
    if input_dim is None:
        input_dim = 2 if len(shape) == 3 and is_of_experts(name) else 1
    try:
        layout = input_layout(name, shape, input_dim)
    except UnfitInputDimError as error:
        raise UnfitBlocksError("it has no output and input channels") from error
    if layout.rows % rows or layout.columns % columns:
        raise UnfitBlocksError(f"it has {layout.rows:,} output channels and {layout.columns:,} input channels")
    height, width = (columns, rows) if layout.is_transposed else (rows, columns)
    return BlockLayout(*layout.stored, height, width, layout.is_transposed)
