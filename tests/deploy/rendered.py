"""What the folders under `deploy/kubernetes` render to, offline, and what is looked up in it."""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from scripts.environments import ROOT

KUBERNETES: Final = ROOT / "deploy" / "kubernetes"
OVERLAYS: Final = (
    *("overlays/cpu", "overlays/gpu", "overlays/mtls", "overlays/tokens", "overlays/monitoring"),
    *("overlays/jobs", "overlays/ray", "examples/own-overlay"),
)
FOLDERS: Final = ("base", *OVERLAYS)
NAME: Final = {"app.kubernetes.io/name": "pruning-service"}

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rendered:
    """The objects that a folder renders to."""

    text: str
    objects: Sequence[Manifest]

    def one(self, kind: str, name: str | None = None) -> Manifest:
        """Return the only object of a kind, or of a kind and a name."""
        found = [item for item in self.objects if item["kind"] == kind]
        (one,) = (item for item in found if name is None or item["metadata"]["name"] == name)
        return one

    @property
    def pod(self) -> Manifest:
        """What the Deployment says of its pods."""
        return self.one("Deployment")["spec"]["template"]["spec"]  # type: ignore[no-any-return]

    @property
    def container(self) -> Manifest:
        """The one container of a pod."""
        (found,) = self.pod["containers"]
        return found  # type: ignore[no-any-return]

    @property
    def environment(self) -> dict[str, str]:
        """The container's variables."""
        return {variable["name"]: variable["value"] for variable in self.container["env"]}


@cache
def rendered(folder: str) -> Rendered:
    """Render a folder; skip the test where nothing here can."""
    done = subprocess.run([*_renderer(), KUBERNETES / folder], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return Rendered(done.stdout, list(yaml.safe_load_all(done.stdout)))


def example(name: str) -> Iterator[Manifest]:
    """Read the objects of a file under `examples`."""
    return yaml.safe_load_all((KUBERNETES / "examples" / name).read_text(encoding="utf-8"))


def written(folder: str, target: Path) -> Path:
    """Write what a folder renders to into a file, for a program that reads files."""
    file = target / f"{folder.replace('/', '-')}.yaml"
    file.write_text(rendered(folder).text, encoding="utf-8")
    return file


def _renderer() -> Sequence[str]:
    if shutil.which("kubectl"):
        return ["kubectl", "kustomize"]
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    pytest.skip("neither kubectl nor kustomize is installed here: nothing renders the manifests")
