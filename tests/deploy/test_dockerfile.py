"""What the Dockerfile says, without building it; `make test-image` builds it and holds it to more."""

import re

import pytest

from pruning_service.settings import read_settings
from scripts import base_image, stand_in
from scripts.environments import ROOT
from scripts.images import TARGETS
from tests.deploy.rendered import rendered
from tests.servers import OF_THE_IMAGE

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
STAGES = re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE)
IGNORED = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()


def settings() -> dict[str, str]:
    return dict(re.findall(r"(PRUNING_\w+)=(\S+)", DOCKERFILE))


def test_each_image_that_can_be_asked_for_is_a_stage_and_cpu_is_the_default() -> None:
    assert set(TARGETS) <= set(STAGES)
    assert STAGES[-1] == "cpu"


def test_user_is_a_number_so_that_kubernetes_sees_that_it_is_not_root() -> None:
    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE) == ["65532:65532"]


def test_image_listens_where_the_manifests_look() -> None:
    assert settings().items() <= rendered("base").environment.items()


def test_tests_of_memory_run_servers_as_the_image_does() -> None:
    for name, text in OF_THE_IMAGE.items():
        assert re.search(rf"^\s+{name}={re.escape(text)}(?: \\)?$", DOCKERFILE, re.MULTILINE)


def test_image_by_itself_does_not_allow_plaintext() -> None:
    assert read_settings(settings() | {"PRUNING_ALLOW_PLAINTEXT": "true"})
    assert "PRUNING_ALLOW_PLAINTEXT" not in settings()


def test_what_is_not_named_does_not_reach_the_build() -> None:
    assert next(line for line in IGNORED if not line.startswith("#")) == "*"


def test_what_the_build_reads_reaches_it() -> None:
    read = {"pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "pruning_engine", "scripts/sbom.py"}
    assert {f"!{name}" for name in read} <= set(IGNORED)
    assert all((ROOT / name).exists() for name in read)


def test_no_image_begins_with_a_base_that_has_pip_or_apt() -> None:
    parent_of = {stage: parent for parent, stage in re.findall(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, re.MULTILINE)}
    assert {parent_of[parent_of[target]] for target in ("cpu", "cuda", "ray")} == {parent_of["client"]} == {"base"}
    assert parent_of["base"] == "scratch"


@pytest.mark.parametrize("target", TARGETS)
def test_every_image_has_its_bill_of_materials(target: str) -> None:
    assert f"COPY --from={target}-sbom /sbom/sbom.cdx.json /app/\n" in DOCKERFILE


def test_base_is_that_of_the_pinned_file() -> None:
    (default,) = re.findall(r"^ARG BASE=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert base_image.read().partition("@")[0] == default == stand_in.BASE
