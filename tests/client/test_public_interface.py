"""The public interface: its signatures name no messages, its docstrings have their sections, and their examples run."""

import asyncio
import doctest
import inspect
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pruning_client
import pruning_client.numpy
import pruning_client.torch
from pruning_client import AsyncClient, AsyncJob, Client, Job, rules
from tests.servers import running_server
from tests.system.jobs import settings

MODULES = (pruning_client, rules, pruning_client.numpy, pruning_client.torch)
DOCUMENTED = {
    **{name: getattr(pruning_client, name) for name in pruning_client.__all__ if name not in ("errors", "rules")},
    **{f"rules.{name}": getattr(rules, name) for name in rules.__all__ if name != "AmountLike"},
    "numpy.load_packed": pruning_client.numpy.load_packed,
    **{
        f"torch.{name}": getattr(pruning_client.torch, name)
        for name in pruning_client.torch.__all__
        if not name.endswith("_async")  # they have no example, whose calls would be awaited
    },
}
VERBS = {
    f"{kind.__name__}.{name}": verb
    for kind in (Client, Job)
    for name, verb in inspect.getmembers(kind, inspect.isfunction)
    if not name.startswith("_") and name not in ("to_pandas",)
}
JOBS = {name: VERBS[name] for name in ("Client.prune_checkpoint", "Client.job", "Client.jobs")} | {
    "Job": Job,
    **{name: verb for name, verb in VERBS.items() if name.startswith("Job.") and name != "Job.delete"},
    "Job.delete": VERBS["Job.delete"],
    "AsyncJob": AsyncJob,
}
"""In the order in which their examples follow each other."""

OTHERS = {name: value for name, value in {**DOCUMENTED, **VERBS}.items() if name not in JOBS}
PRINTED = {"localhost:50051": "{address}", "s3://models": "file://{folder}"}
"""What stands in examples, and what is there in its place here."""


CONVERSIONS = ("from_message", "to_message")
"""For those who have the contract's stubs: the only ones that take and return messages."""


def callables_of(module: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the public functions of a module, and the public methods and properties of its classes, by name."""
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isfunction(value):
            yield name, value
        for member, inner in inspect.getmembers(value) if inspect.isclass(value) else ():
            found = inner.fget if isinstance(inner, property) else getattr(inner, "func", inner)
            is_public = not member.startswith("_") and member not in CONVERSIONS
            if inspect.isroutine(found) and (is_public or member == "__init__"):
                yield f"{name}.{member}", found


SIGNED = {f"{module.__name__}.{name}": found for module in MODULES for name, found in callables_of(module)}


@pytest.mark.parametrize("name", SIGNED)
def test_signature_names_no_message(name: str) -> None:
    try:
        signature = str(inspect.signature(SIGNED[name]))
    except ValueError:  # of a builtin, such as `__init__` of an exception
        return
    assert "pruning_pb2" not in signature
    assert "pb." not in signature


@pytest.mark.parametrize("name", [*DOCUMENTED, *VERBS])
def test_docstring_has_an_example(name: str) -> None:
    text = inspect.getdoc({**DOCUMENTED, **VERBS}[name]) or ""
    assert "\nExample:\n    >>> " in text


@pytest.mark.parametrize("name", [name for name, value in {**DOCUMENTED, **VERBS}.items() if inspect.isfunction(value)])
def test_docstring_says_what_is_raised(name: str) -> None:
    if name != "Client.close":
        assert "Raises: " in (inspect.getdoc({**DOCUMENTED, **VERBS}[name]) or "")


def tiny_state_dict() -> dict[str, np.ndarray[Any, Any]]:
    """Return the tensors of two layers and an embedding."""
    return {
        "embeddings.weight": np.ones((10, 4), np.float32),
        "fc1.bias": np.ones(8, np.float32),
        "fc1.weight": np.arange(1, 33, dtype=np.float32).reshape(8, 4),
        "fc2.weight": np.arange(1.5, 17.5, dtype=np.float32).reshape(2, 8),
    }


def nonzeros(model: torch.nn.Module) -> float:
    """Return the part of a model's parameters that is not zero: an evaluation, where an example needs one."""
    parameters = torch.cat([each.detach().flatten() for each in model.parameters()])
    return float((parameters != 0).float().mean())


class Stack(torch.nn.Module):
    """A model of two blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList([torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)])

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            inputs = layer(inputs)
        return inputs


class Setting:
    """What examples find: a folder with models, a server, a client, and names."""

    def __init__(self, folder: Path, address: str) -> None:
        self._places = {"folder": str(folder), "address": address}
        self.state_dict = tiny_state_dict()
        self.client = Client(address)
        for place in (folder, folder / "model", folder / "m"):
            place.mkdir(exist_ok=True)
            self.client.prune(self.state_dict, rules.identity()).save(place / "model.safetensors")
            (place / "config.json").write_text(json.dumps({"model_type": "none"}))

    def run(self, name: str, value: object) -> None:
        """Run the examples of a docstring. Raises: AssertionError with what they did instead."""
        names = {
            **{each: getattr(pruning_client, each) for each in pruning_client.__all__},
            "np": np,
            "torch": torch,
            "asyncio": asyncio,
            "Path": Path,
            "client": self.client,
            "weight": self.state_dict["fc1.weight"],
            "state_dict": self.state_dict,
            "report": None,
            **{each: getattr(pruning_client.torch, each) for each in pruning_client.torch.__all__},
            "pruning_client": pruning_client,
            "model": torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)),
            "evaluate": nonzeros,
            "stack": Stack(),
        }
        names["report"] = self.client.dry_run(self.state_dict, rules.l1_unstructured(0.5))
        test = doctest.DocTestParser().get_doctest(inspect.getdoc(value) or "", names, name, None, None)
        assert test.examples
        for example in test.examples:
            for printed, place in PRINTED.items():
                example.source = example.source.replace(printed, place.format(**self._places))
        said: list[str] = []
        runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE)
        runner.run(test, out=said.append)
        assert runner.failures == 0, "".join(said)


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    folder = tmp_path_factory.mktemp("examples")
    with running_server(**settings(folder)) as server:
        found = Setting(folder, server.address)
        with pytest.MonkeyPatch.context() as patch, found.client:
            patch.chdir(folder)
            yield found


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.integration) if "erive" in name else name for name in OTHERS]
)
def test_examples_run(name: str, setting: Setting) -> None:
    setting.run(name, OTHERS[name])


def test_examples_of_jobs_run(setting: Setting) -> None:
    for name, value in JOBS.items():
        setting.run(name, value)


def test_verbs_of_both_clients_are_the_same() -> None:
    verbs = {name.removeprefix("Client.") for name in VERBS if name.startswith("Client.")}
    assert all(callable(getattr(AsyncClient, verb)) for verb in verbs)


def test_example_that_fails_is_seen(setting: Setting) -> None:
    def wrong() -> None:
        """
        >>> 1 + 1
        3
        """

    with pytest.raises(AssertionError, match=r"Expected:\s+3\s+Got:\s+2"):
        setting.run("wrong", wrong)
