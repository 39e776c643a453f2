"""What tests of the executor ray run in its environment: `python -m ... NAME FOLDER [ADDRESS]` prints JSON.

An address of "" is a cluster of the process's own.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from pruning_client.errors import UnavailableError
from pruning_client.jobs.executors import Executor, finished, open_executor
from tests.client.jobs.executors.tasks import Crash, Deaf, Modules, Refused, Slow, Task, TwoPartsError


def results(executor: Executor, folder: Path) -> Any:
    """Carry out many small tasks."""
    tasks = [Task(folder=folder, number=number, memory_bytes=1 << 40) for number in range(40)]
    return sorted(int(result) for _, result in finished(executor, tasks))


def refused(executor: Executor, folder: Path) -> Any:
    """Carry out a task that raises."""
    try:
        list(finished(executor, [Refused(folder=folder)]))
    except TwoPartsError as error:
        return [str(error), error.tensor, len((folder / "begun-0").read_text().splitlines())]
    return None


def crashed(executor: Executor, folder: Path) -> Any:
    """Carry out tasks whose processes are lost; those of the second always."""
    found = [str(result) for _, result in finished(executor, [Crash(folder=folder, number=1, times=2)])]
    try:
        list(finished(executor, [Crash(folder=folder, number=2, times=100)]))
    except UnavailableError as error:
        found.append(str(error))
    return found, [len((folder / f"begun-{number}").read_text().splitlines()) for number in (1, 2)]


def slow(executor: Executor, folder: Path) -> Any:
    """Carry out tasks that wait for the file "go"."""
    tasks = [Slow(folder=folder, number=number) for number in range(4)]
    return sorted(int(result) for _, result in finished(executor, tasks))


def cancelled(executor: Executor, folder: Path) -> Any:
    """Cancel tasks under way; return whether their processes are gone, and which began."""
    tasks = [Slow(folder=folder, number=1), Deaf(folder=folder, number=2), Slow(folder=folder, number=3)]
    for task in tasks:
        executor.submit(task)
    end = time.monotonic() + 60
    while len(list(folder.glob("begun-*"))) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    executor.cancel()
    deaf = Path("/proc", (folder / "begun-2").read_text().strip())
    while deaf.exists() and time.monotonic() < end:
        time.sleep(0.05)
    return {"deaf lives": deaf.exists(), "begun": len(list(folder.glob("begun-*")))}


def environment(executor: Executor, folder: Path) -> Any:
    """Return what a worker has imported, and what the executor has changed of this process."""
    ((_, result),) = finished(executor, [Modules(folder=folder)])
    return {"torch": result.decode(), "mine": signal.getsignal(signal.SIGTERM) is _on_term}


def stranger(executor: Executor, folder: Path) -> Any:
    """Return how a process without the token fares, and one with it."""
    import ray  # noqa: PLC0415 - of this program alone

    connect = f"import ray; ray.init({ray.get_runtime_context().gcs_address!r}, logging_level=50)"
    without = {name: text for name, text in os.environ.items() if not name.startswith("RAY_AUTH")}
    found = [
        subprocess.run([sys.executable, "-c", connect], env=environment, capture_output=True, check=False).returncode
        for environment in (without | {"RAY_AUTH_MODE": "disabled"}, dict(os.environ))
    ]
    return [status == 0 for status in found]


PROGRAMS: Final[Mapping[str, Callable[[Executor, Path], Any]]] = {
    each.__name__: each for each in (results, refused, crashed, slow, cancelled, environment, stranger)
}


def _on_term(*_: object) -> None:
    """Do nothing."""


def main(name: str, folder: str, address: str = "") -> None:
    """Run a program."""
    signal.signal(signal.SIGTERM, _on_term)
    before = dict(os.environ)
    try:
        with open_executor("ray", address or None) as executor:
            answer = PROGRAMS[name](executor, Path(folder))
    except UnavailableError as error:
        answer = str(error)
    left = sorted(set(os.environ) - set(before))
    threads = [each.name for each in threading.enumerate() if not each.daemon]
    print(json.dumps({"answer": answer, "left": left, "threads": threads}))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
