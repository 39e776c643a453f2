"""Checks of the numbers that parts of a rule take."""

from pruning_engine.errors import Reason, RecipeError


def check_whole(value: int | None, most: int, path: str) -> None:
    """Refuse a number that is not 1 to `most`; None is the default. Raises: RecipeError."""
    if value is not None and not 1 <= value <= most:
        raise RecipeError(Reason.INVALID_RECIPE, f"{path}: allowed are 1 to {most:,}, got {value:,}", field=path)


def check_damping(value: float | None, path: str) -> None:
    """Refuse a damping that is not a finite number above 0; None is the default. Raises: RecipeError."""
    if value is not None and not 0 < value < float("inf"):
        raise RecipeError(
            Reason.INVALID_RECIPE,
            f"{path}: a damping is a finite number above 0, such as 0.01, got {value}",
            field=path,
        )
