"""A recipe file in YAML: what is read is written and read again the same; all else is refused by a reason."""

import tempfile
from pathlib import Path

from pruning_client.errors import RecipeError
from pruning_client.rules import dump_recipe, load_recipe
from pruning_client.rules.recipe import Recipe
from tests.fuzzing.refusals import check_refusal


def check(data: bytes) -> None:
    """Read the bytes as a recipe file. Raises: AssertionError, or any error that is not a refusal."""
    with tempfile.TemporaryDirectory(prefix="fuzzing-") as folder:
        file = Path(folder) / "recipe.yaml"
        recipe = _loaded(file, data)
        if recipe is not None:
            assert repr(recipe)
            again = _loaded(file, dump_recipe(recipe).encode())
            assert again is not None, "what was written is refused"
            assert _bytes(again) == _bytes(recipe), "written and read it is another recipe"


def _loaded(file: Path, content: bytes) -> Recipe | None:
    file.write_bytes(content)
    try:
        return load_recipe(file)
    except RecipeError as error:
        check_refusal(error.reason, str(error), file.name)
        return None


def _bytes(recipe: Recipe) -> bytes:
    return recipe.to_message().SerializeToString(deterministic=True)  # as messages, NaN would differ from itself
