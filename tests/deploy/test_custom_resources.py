"""What the operators of Prometheus and cert-manager add to Kubernetes: objects of it are held against their types.

TypeScript finds every field that a type does not have, in objects that are written out, and every one that is missing.
"""

import json
import re
import subprocess
from pathlib import Path

import pytest

from scripts.node_packages import MISSING, is_installable, node_modules
from tests.deploy.rendered import Manifest, example, rendered

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(600),  # the first time, packages are installed
    pytest.mark.skipif(not is_installable(), reason=MISSING),
]

MODELS = Path(__file__).with_name("models")
COMPILER = {"noEmit": True, "strict": True, "skipLibCheck": True, "module": "nodenext", "types": []}
PACKAGES = {"monitoring.coreos.com/v1": "prometheus-operator", "cert-manager.io/v1": "cert-manager"}


MISSPELLED = {"port": "metrics", "intervall": "15s"}


def objects() -> dict[str, Manifest]:
    """Return what is checked: the overlay's and the example's, and two that are wrong."""
    overlay = [item for item in rendered("overlays/monitoring").objects if item["apiVersion"] in PACKAGES]
    sound = {f"{item['kind']} {item['metadata']['name']}": item for item in (*overlay, *example("certificate.yaml"))}
    monitor = rendered("overlays/monitoring").one("ServiceMonitor")
    return sound | {
        "misspelled": monitor | {"spec": monitor["spec"] | {"endpoints": [MISSPELLED]}},
        "lacking": monitor | {"spec": {"endpoints": []}},
    }


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Compile the objects as constants of their types, one a line; return what is said of those that are not valid."""
    folder, packages = tmp_path_factory.mktemp("objects"), node_modules(MODELS)
    (folder / "node_modules").symlink_to(packages)
    (folder / "objects.ts").write_text("\n".join(constant(*named) for named in enumerate(objects().values())))
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": COMPILER, "files": ["objects.ts"]}))
    command = ["node", str(packages / "typescript" / "bin" / "tsc"), "--project", str(folder)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    found = re.findall(r"^objects\.ts\((\d+),\d+\): (.*(?:\n .*)*)", done.stdout, re.MULTILINE)
    assert len(found) == done.stdout.count("error TS"), done.stdout
    return {list(objects())[int(line) - 1]: text for line, text in found}


def constant(number: int, item: Manifest) -> str:
    version, kind = item["apiVersion"], item["kind"]
    module = f"@kubernetes-models/{PACKAGES[version]}/{version}/{kind}"
    return f'export const object{number}: import("{module}").I{kind} = {json.dumps(item)};'


def test_objects_of_overlay_and_example_are_valid_to_the_last_field(complaints: dict[str, str]) -> None:
    assert {item["kind"] for item in objects().values()} == {
        "ServiceMonitor",
        "PrometheusRule",
        "Issuer",
        "Certificate",
    }
    assert complaints.keys() <= {"misspelled", "lacking"}


def test_a_field_that_does_not_exist_is_found(complaints: dict[str, str]) -> None:
    assert """'"intervall"' does not exist""" in complaints["misspelled"]


def test_a_field_that_is_missing_is_found(complaints: dict[str, str]) -> None:
    assert """'"selector"' is missing""" in complaints["lacking"]
