"""What the documentation site's references are made of, before the generator makes pages of it."""

from importlib import import_module
from pathlib import Path, PurePosixPath

import pytest

from pruning_proto.v1 import pruning_pb2
from scripts.site import contract, pages, python
from scripts.site.labels import as_markdown


@pytest.fixture(scope="module")
def reference() -> str:
    return contract.reference(contract.contract_descriptor())


def test_contract_has_every_message_and_enum(reference: str) -> None:
    declared = {*pruning_pb2.DESCRIPTOR.message_types_by_name, *pruning_pb2.DESCRIPTOR.enum_types_by_name}
    assert {name for name in declared if f"\n### {name}\n" not in reference} == set()


def test_contract_has_every_field_with_its_comment(reference: str) -> None:
    rows = [line.split(" | ") for line in reference.split("\n") if line.startswith("| `")]
    assert [row[0] for row in rows if len(row[-1].strip(" |")) < 3] == []
    fields = pruning_pb2.DESCRIPTOR.message_types_by_name["PruneOptions"].fields
    assert {f"| `{field.name}` = {field.number}" for field in fields} <= {row[0] for row in rows}


def test_contract_links_types_that_it_has(reference: str) -> None:
    assert "[`PruneOptions`](#pruneoptions)" in reference
    assert "`google.longrunning.Operation`" in reference


def test_comment_is_not_taken_for_markup() -> None:
    assert contract.as_markdown(" layers.*.mlp <b> `a*b`", set()) == r"layers.\*.mlp &lt;b> `a*b`"


@pytest.mark.parametrize("module", python.MODULES)
def test_public_names_are_those_of_the_module(module: str) -> None:
    names = [name for name in import_module(module).__all__ if not name.startswith("_")]
    assert python.public_names(module) == names


def test_links_lead_to_the_pages_of_the_site() -> None:
    text = (
        "[a](../CHANGELOG.md#x) [b](client.md#y) [c](../deploy/proxies) [d](https://e.org) [e](#f)\n[g]: ../README.md\n"
    )
    linked = (
        "[a](changelog.md#x) [b](client.md#y) [c](files/deploy/proxies.md) [d](https://e.org) [e](#f)\n[g]: index.md\n"
    )
    assert pages.with_links(text, PurePosixPath("docs/errors.md")) == linked


def test_links_in_code_are_left() -> None:
    text = "```\n[a](../CHANGELOG.md)\n```\n"
    assert pages.with_links(text, PurePosixPath("docs/errors.md")) == text


def test_link_to_nothing_is_left_for_the_generator() -> None:
    text = "[a](../nothing.md)"
    assert pages.with_links(text, PurePosixPath("docs/errors.md")) == text


def test_linked_folder_is_shown(tmp_path: Path) -> None:
    pages.collect(tmp_path)
    assert "grpc_pass" in (tmp_path / "files" / "deploy" / "proxies.md").read_text(encoding="utf-8")


def test_labels_begin_paragraphs() -> None:
    docstring = "Return it.\n\nShape: any.\nRaises: OSError. Cost: much."
    assert as_markdown(docstring) == "Return it.\n\n\n**Shape:** any.\n\n**Raises:** OSError.\n\n**Cost:** much."


@pytest.mark.parametrize("indent", ["", "    "], ids=["", "below a label"])
def test_sessions_become_code(indent: str) -> None:
    session = f"{indent}>>> f(\n{indent}...     1)\n{indent}2"
    assert as_markdown(f"Do.\n\n{session}\n\nEnd.") == "Do.\n\n\n```pycon\n>>> f(\n...     1)\n2\n```\n\n\nEnd."
