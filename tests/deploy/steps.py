"""The steps of `deploy/pipelines`, as commands."""

import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

from scripts.environments import ROOT

PIPELINES: Final = ROOT / "deploy" / "pipelines"


def argo_workflow() -> dict[str, Any]:
    """Read the workflow."""
    document = yaml.safe_load((PIPELINES / "argo.yaml").read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def argo_command(workflow: Mapping[str, Any], **values: str) -> list[str]:
    """Return the words of its only step, with the workflow's parameters filled in, and `values` in place of some."""
    parameters = {each["name"]: each["value"] for each in workflow["spec"]["arguments"]["parameters"]}
    assert values.keys() <= parameters.keys()
    places = {f"workflow.parameters.{name}": value for name, value in (parameters | values).items()}
    (template,) = workflow["spec"]["templates"]
    container = template["container"]
    return [filled(word, places) for word in (*container["command"], *container["args"])]


def filled(word: str, places: Mapping[str, str]) -> str:
    """Fill in each `{{place}}`. Raises: KeyError for one that has no value."""
    return re.sub(r"\{\{(.+?)\}\}", lambda place: places[place[1]], word)
