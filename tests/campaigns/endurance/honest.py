"""Honest clients of every kind: what each does to a server again and again, and how its result is known to be right.

A kind is a function of a `Caller`. It returns what its result amounts to, which must be the same every time, or raises:
the errors that it provokes itself it catches, and everything else is a call that was lost.
"""

import asyncio
import hashlib
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from pruning_client import AsyncClient, Client, Progress, Report, Tls, errors, prune_folder, rules
from tests.campaigns.endurance.materials import Materials

RETRIES: Final = 50
"""A server that is full says so, and when to come again."""

SLOW_SECONDS: Final = 0.02
GLOBAL: Final = rules.l1_unstructured(0.5, scope="global")


@dataclass(frozen=True, slots=True)
class Access:
    """How a server is called. `wrong`: the arguments of a client that it must not admit; None if it admits all."""

    address: str
    arguments: Mapping[str, Any]
    wrong: Mapping[str, Any] | None = None

    @classmethod
    def secured(cls, address: str, ca: Path, token: str) -> "Access":
        """Return how a server with TLS and tokens is called."""
        tls = Tls(ca=ca)
        return cls(address, {"tls": tls, "token": token}, {"tls": tls, "token": token[::-1]})


@dataclass(frozen=True, slots=True)
class Caller:
    """One client: its own folder for results, which is empty between its calls, and a name that no other has."""

    client: Client
    access: Access
    materials: Materials
    folder: Path
    name: str
    number: int

    @property
    def target(self) -> Path:
        """Where a result goes."""
        return self.folder / f"result-{self.number}"


Kind: TypeAlias = Callable[[Caller], str]


def pruned(source: str, rule: Any, caller: Caller, *, output: str = "pruned", **options: Any) -> str:
    """Prune a file into another."""
    path: Path = getattr(caller.materials, source)
    caller.client.prune_file(path, caller.target, rule, output=output, **options)  # type: ignore[arg-type]
    return digest(caller.target)


def calibrated(rule: Any, caller: Caller) -> str:
    """Prune a file with statistics; the sparsity alone is compared: BLAS decides the last bits of what is refitted."""
    statistics = caller.materials.statistics
    report = caller.client.prune_file(caller.materials.medium, caller.target, rule, statistics=statistics)
    return f"{report.pruned} of {report.entries}"


def reported(caller: Caller) -> str:
    """Ask for a report and a plan, without a result."""
    report = caller.client.dry_run(caller.materials.medium, GLOBAL, digests=True)
    plan = caller.client.plan(caller.materials.medium, GLOBAL)
    return f"{report.pruned} of {report.input_sha256}, {len(plan.tensors)} planned"


def scanned(caller: Caller) -> str:
    """Ask how much every layer may lose."""
    return str(caller.client.scan(caller.materials.medium, GLOBAL))


def channels_removed(caller: Caller) -> str:
    """Take half of the channels between two layers out."""
    groups = [rules.group(["layers.0.fc.weight:0", "layers.0.fc.bias:0", "layers.1.fc.weight:1"])]
    return pruned("medium", rules.remove_units(0.5, groups=groups), caller, output="removed")


def experts_removed(caller: Caller) -> str:
    """Take half of a folder's experts out."""
    report = prune_folder(caller.client, caller.materials.experts, caller.target, rules.keep_experts(16))
    return _folder(caller.target, report)


def layers_removed(caller: Caller) -> str:
    """Take a folder's first layer out."""
    report = prune_folder(caller.client, caller.materials.experts, caller.target, rules.drop_layers([0]))
    return _folder(caller.target, report)


def job(caller: Caller) -> str:
    """Have a folder pruned by reference, and delete the job."""
    begun = _begun(caller)
    report = begun.wait(timeout=300)
    begun.delete()
    return _folder(_job_target(caller), report)


def job_cancelled(caller: Caller) -> str:
    """Cancel a job at once; nothing of it stays, unless it was quicker."""
    begun = _begun(caller)
    begun.cancel()
    try:
        report = begun.wait(timeout=300)
    except errors.JobError as error:
        if error.reason != "JOB_CANCELLED" or _job_target(caller).exists():
            raise
    else:
        _folder(_job_target(caller), report)  # it was quicker
    begun.delete()
    return "cancelled"


def call_cancelled(caller: Caller) -> str:
    """Cancel a call in the middle of its stream."""

    async def cancel() -> None:
        async with AsyncClient(caller.access.address, **caller.access.arguments) as client:
            call = asyncio.ensure_future(client.prune_file(caller.materials.large, caller.target, GLOBAL))
            done, _ = await asyncio.wait({call}, timeout=caller.number % 10 * SLOW_SECONDS)
            if not done:
                call.cancel()
                await asyncio.wait({call})
        if not call.cancelled():
            call.result()

    asyncio.run(cancel())
    return "cancelled"


def read_slowly(caller: Caller) -> str:
    """Take a result as slowly as a poor connection does."""

    def wait(_: Progress) -> None:
        time.sleep(SLOW_SECONDS)

    return pruned("large", GLOBAL, caller, progress=wait)


def not_admitted(caller: Caller) -> str:
    """Call with a token that is not one."""
    if caller.access.wrong is None:
        return "refused"
    with Client(caller.access.address, **caller.access.wrong) as stranger:
        try:
            stranger.dry_run(caller.materials.small, GLOBAL)
        except errors.AuthenticationError:
            return "refused"
    raise AssertionError("a wrong token was admitted")


def invalid(caller: Caller) -> str:
    """Ask for what the file does not have."""
    try:
        caller.client.dry_run(caller.materials.small, rules.l1_unstructured(0.5, include=["no.such.weight"]))
    except errors.PruningError as error:
        return str(error.reason)
    raise AssertionError("a pattern that matches nothing was admitted")


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "10 kB": partial(pruned, "small", rules.l1_unstructured(0.5)),
        "1 MiB, global, masked": partial(pruned, "medium", GLOBAL, output="masked"),
        "1 MiB, masks": partial(pruned, "medium", GLOBAL, output="mask"),
        "1 MiB, packed": partial(pruned, "medium", GLOBAL, output="packed"),
        "1 MiB, rows": partial(pruned, "medium", rules.ln_structured(0.25, n=2, dim=0)),
        "1 MiB, 2:4": partial(pruned, "medium", rules.n_of_m(2, 4, dim=1)),
        "1 MiB, random": partial(pruned, "medium", rules.random_unstructured(0.5), seed=7),
        "1 MiB, LAMP": partial(pruned, "medium", rules.lamp(0.5)),
        "32 MiB, global": partial(pruned, "large", GLOBAL),
        "Wanda": partial(calibrated, rules.wanda(0.5, input_dim=1)),
        "RIA": partial(calibrated, rules.ria(0.5, input_dim=1)),
        "SparseGPT": partial(calibrated, rules.sparsegpt(0.5, input_dim=1)),
        "ALPS": partial(calibrated, rules.alps(0.5, input_dim=1)),
        "report": reported,
        "scan": scanned,
        "channels removed": channels_removed,
        "experts removed": experts_removed,
        "layers removed": layers_removed,
        "job": job,
        "job cancelled": job_cancelled,
        "call cancelled": call_cancelled,
        "read slowly": read_slowly,
        "wrong token": not_admitted,
        "invalid": invalid,
    }
)
LARGEST: Final = "the largest"
LARGEST_KIND: Final[Kind] = partial(pruned, "largest", rules.l1_unstructured(0.5))


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _folder(folder: Path, report: Report) -> str:
    found = [digest(path) for path in sorted(folder.iterdir())]
    shutil.rmtree(folder)
    return f"{report.pruned} {found}"


def _job_target(caller: Caller) -> Path:
    return caller.materials.jobs / f"{caller.name}-{caller.number}"


def _begun(caller: Caller) -> Any:
    source, target = (caller.materials.jobs / "in").as_uri(), _job_target(caller)
    return caller.client.prune_checkpoint(source, target.as_uri(), GLOBAL, name=target.name)
