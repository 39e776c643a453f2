"""Errors of the module interface that are also of the type that torch raises there.

So code written against torch catches them, and code written against this engine finds reason, field and tensor.
"""

from pruning_engine.errors import MismatchError, RecipeError


class ShapeError(MismatchError, AssertionError):
    """Scores or a mask have another shape than the tensor that they are for."""


class DimError(MismatchError, IndexError):
    """A tensor has no channels along the dim that was asked for."""


class AmountTypeError(RecipeError, TypeError):
    """An amount is not a number."""


class CallError(RecipeError, TypeError):
    """The arguments do not fit the function."""


class ParameterNameError(MismatchError, AttributeError):
    """A module has no parameter of that name."""
