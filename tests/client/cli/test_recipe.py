"""`prune recipe`: the recipe of a command line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pruning_client import Rule, rules

L1 = ("--method", "l1_unstructured", "--amount", "0.5", "--global")


def prune(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pruning_client", *map(str, words)], capture_output=True, text=True, check=False
    )


def test_rule_is_printed_as_a_method_with_arguments() -> None:
    assert prune("recipe", *L1).stdout.splitlines() == [
        "rules:",
        "- method: l1_unstructured",
        "  amount:",
        "    fraction: 0.5",
        "  scope: global",
    ]


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        pytest.param(L1, rules.l1_unstructured(0.5, scope="global"), id="global"),
        pytest.param(
            ["--method", "ln_structured", "--amount", "1", "--n", "inf", "--exclude", "re:a|b", "--prior", "zeros"],
            rules.ln_structured(1, float("inf"), exclude="re:a|b", prior="zeros"),
            id="channels",
        ),
        pytest.param(["--n-of-m", "2:4", "--include", "*.w"], rules.n_of_m(2, 4, include="*.w"), id="2:4"),
        pytest.param(
            ["--map", "bert_ffn", "--sparsity", "0.5", "--round-to", "8", "--same-width"],
            rules.remove_units(rules.sparsity(0.5), map="bert_ffn", round_to=8, same_width=True),
            id="coupled channels",
        ),
    ],
)
def test_printed_recipe_is_the_one_of_the_options(tmp_path: Path, options: list[str], rule: Rule) -> None:
    (tmp_path / "recipe.yaml").write_text(prune("recipe", *options).stdout)
    (read,) = rules.load_recipe(tmp_path / "recipe.yaml").rules
    assert read == rule


def test_whole_units_are_printed_before_other_rules(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("0-9 12")
    options = ("--keep-tokens", tmp_path / "ids.txt", "--keep-experts", "4", "--drop-layers", "encoder.block=1,4-5")
    recipe = prune("recipe", *options, "--map", "llama_mlp", "--amount", "0.5").stdout
    (tmp_path / "recipe.yaml").write_text(recipe)
    assert list(rules.load_recipe(tmp_path / "recipe.yaml").rules) == [
        rules.drop_layers({"encoder.block": "1,4-5"}),
        rules.keep_experts(4),
        rules.keep_tokens("0-9,12"),
        rules.remove_units(0.5, map="llama_mlp"),
    ]


@pytest.mark.parametrize(("words", "seed"), [((), None), (("--seed", "7"), "7")], ids=["none", "given"])
def test_seed_is_printed_if_it_was_given(words: tuple[str, ...], seed: str | None) -> None:
    done = prune("recipe", "--method", "random_unstructured", "--amount", "1", *words, "--json")
    assert json.loads(done.stdout).get("seed") == seed


def test_recipe_file_is_printed_in_short_form(tmp_path: Path) -> None:
    (tmp_path / "long.yaml").write_text(
        "rules: [{score: {magnitude: {}}, scope: SCOPE_GLOBAL, amount: {fraction: 0.5}}]"
    )
    assert prune("recipe", "--recipe", tmp_path / "long.yaml").stdout == prune("recipe", *L1).stdout


def test_options_that_do_not_fit_are_refused() -> None:
    done = prune("recipe", *L1, "--dim", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert "l1_unstructured takes no --dim" in done.stderr
