"""Which tensors a rule acts on, by pattern."""

import re
import resource

import pytest
import re2  # type: ignore[import-untyped]

from pruning_engine import Reason, RecipeError
from pruning_engine.planning.selectors.name_patterns import (
    NameTree,
    compile_selector,
)
from pruning_engine.planning.selectors.not_selected import NotSelected
from pruning_engine.recipe import Selector


def selects(selector: Selector, *names: str, dtype: str = "F32", dims: int = 2) -> bool:
    return compile_selector(selector, "select").refuses(names, dtype, dims) is None


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("a.*", "a.b.c", True),
        ("a.?", "a.b", True),
        ("a.?", "a.bc", False),
        ("[ab].w", "b.w", True),
        ("[!ab].w", "b.w", False),
        ("A", "a", False),
        ("a", "a.b", False),
        ("re:a\\.[0-9]+", "a.17", True),
        ("re:a\\.[0-9]+", "a.17.b", False),
        ("*", "line\nbreak", True),
    ],
)
def test_patterns_match_whole_names(pattern: str, name: str, matches: bool) -> None:
    assert selects(Selector((pattern,)), name) is matches


def test_include_replaces_the_default_targets() -> None:
    assert selects(Selector(("*",)), "embed.bias")


@pytest.mark.parametrize("pattern", ["*", "norm.?eight", "re:norm\\..*"])
def test_wildcards_select_no_vectors(pattern: str) -> None:
    choice = compile_selector(Selector((pattern,)), "select")
    assert choice.refuses(["norm.weight"], "F32", 1) is NotSelected.DIMS
    assert choice.refuses(["norm.weight"], "F32", 2) is None


@pytest.mark.parametrize("include", [("norm.weight",), ("*", "norm.weight"), ("norm.weight", "*")], ids=str)
def test_a_name_in_full_selects_a_vector(include: tuple[str, ...]) -> None:
    assert selects(Selector(include), "norm.weight", dims=1)


def test_an_excluded_vector_is_reported_as_excluded() -> None:
    choice = compile_selector(Selector(("*",), ("norm.*",)), "select")
    assert choice.refuses(["norm.weight"], "F32", 1) is NotSelected.EXCLUDED


def test_exclude_adds_to_the_default() -> None:
    selector = Selector(exclude=("*.0.*",))
    assert not selects(selector, "l.0.weight")
    assert not selects(selector, "embed.weight")
    assert selects(selector, "l.1.weight")


def test_any_name_includes_and_any_name_excludes() -> None:
    assert selects(Selector(("b",)), "a", "b")
    assert not selects(Selector(("b",), ("a",)), "a", "b")


def test_a_wildcard_passes_over_integers_and_a_name_written_out_does_not() -> None:
    choice = compile_selector(Selector(("w*",)), "select")
    assert choice.refuses(["w"], "I8", 2) is NotSelected.DTYPE
    assert selects(Selector(("w",)), "w", dtype="I8")


@pytest.mark.parametrize("pattern", ["re:(", "re:a(?=b)", ""])
@pytest.mark.parametrize("field", ["include", "exclude"])
def test_a_pattern_that_is_not_sound_is_refused_by_its_path(pattern: str, field: str) -> None:
    with pytest.raises(RecipeError) as caught:
        compile_selector(Selector(**{field: ("ok*", pattern)}), "rules[0].select")
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID_PATTERN, f"rules[0].select.{field}[1]")


def test_a_regex_takes_linear_time() -> None:
    assert not selects(Selector(("re:(a+)+b",)), "a" * 5000)


def test_capture_groups_cost_no_memory() -> None:
    names = [f"layer.{number}.weight" for number in range(100)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    choice = compile_selector(Selector(("re:" + "()" * 10_000 + ".*",)), "select")
    assert all(choice.refuses([name], "F32", 2) is None for name in names)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB


def test_long_patterns_are_not_kept() -> None:
    marker = "never seen elsewhere"
    compile_selector(Selector((f"*{marker}" + "?" * 1000, "re:" + marker)), "select")
    assert not [key for key in re._cache if marker in str(key)]  # type: ignore[attr-defined]
    assert re2._Regexp._make.cache_info().currsize == 0


def test_every_child_of_many_prefixes_is_found() -> None:
    tree = NameTree([f"layers.{number}.{part}.weight" for number in range(3) for part in ("mlp", "attn")])
    assert tree.prefixes("layers.*.mlp") == ["layers.0.mlp", "layers.1.mlp", "layers.2.mlp"]
    assert tree.prefixes("layers.[12].a?tn") == ["layers.1.attn", "layers.2.attn"]
    assert tree.prefixes("layers.*") == ["layers.0", "layers.1", "layers.2"]
    assert tree.prefixes("*.0.none") == []
