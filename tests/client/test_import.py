"""What `import pruning_client` does not bring along."""

import subprocess
import sys

import pytest

import pruning_client


def imports(program: str, module: str) -> bool:
    """Whether a program of its own has imported a module at its end."""
    program = f"import sys; {program}; print({module!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {"True\n": True, "False\n": False}[done.stdout]


@pytest.mark.parametrize("module", ["torch", "numpy", "rich", "yaml", "pruning_engine", "pruning_service"])
def test_import_is_light(module: str) -> None:
    assert not imports("import pruning_client.cli.main", module)


@pytest.mark.parametrize("module", ["grpc", "google.protobuf", "asyncio", "json"])
def test_package_imports_nothing_before_a_name_is_used(module: str) -> None:
    assert not imports("import pruning_client", module)


def test_grpc_is_imported_by_the_first_client() -> None:
    everything = "from pruning_client import *; import pruning_client.errors.from_server"
    assert not imports(everything, "grpc")
    assert imports(f"{everything}; Client('localhost:1')", "grpc")


@pytest.mark.parametrize("name", pruning_client.__all__)
def test_all_names_are_there_and_documented(name: str) -> None:
    assert getattr(pruning_client, name).__doc__


def test_names_are_listed_before_they_are_imported() -> None:
    assert set(pruning_client.__all__) <= set(dir(pruning_client))


def test_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'pruning_client' has no attribute 'Clint'"):
        pruning_client.Clint  # noqa: B018 - asked for its error
