"""The output channels of a weight, as groups of its entries. Knows names and shapes only."""

from math import prod

from pruning_engine.kernels.group_layout import GroupLayout, group_layout
from pruning_engine.kernels.input_matrix import input_layout


def output_channels(name: str, shape: tuple[int, ...], input_dim: int) -> GroupLayout:
    """Return the entries of each output channel: of a row of a Linear weight, of a row of one of stacked experts.

    Raises: UnfitInputDimError if the weight has no input channels along this dim.
    """
    layout = input_layout(name, shape, input_dim)
    if not layout.is_transposed:
        return group_layout(1, 1, layout.matrices * layout.rows, layout.columns)
    if layout.matrices > 1:
        return group_layout(layout.matrices, layout.columns, layout.rows, 1)
    return group_layout(1, shape[0], shape[1], prod(shape[2:]))
