"""A process that prunes 10 kB again and again until its standard input closes, and prints how long each call took.

`python -m tests.campaigns.endurance.probe`; the first line of standard input is JSON: address, source, target, and the
paths of the CA and the token if there are any.
"""

import json
import select
import sys
import time
from pathlib import Path
from typing import Any, Final

from pruning_client import Client, Tls, rules
from pruning_client.errors import PruningError

EVERY_SECONDS: Final = 0.1
RULE: Final = rules.l1_unstructured(0.5)


def main() -> None:
    """Print `{"seconds": [...], "failed": [...]}`: of all calls, and what those said that failed."""
    asked: dict[str, Any] = json.loads(sys.stdin.readline())
    security: dict[str, Any] = {"tls": Tls(ca=Path(asked["ca"])), "token": asked["token"]} if asked.get("ca") else {}
    seconds: list[float] = []
    failed: list[str] = []
    with Client(asked["address"], **security) as client:
        while not select.select([sys.stdin], [], [], 0)[0]:
            begin = time.perf_counter()
            try:
                client.prune_file(Path(asked["source"]), Path(asked["target"]), RULE)
            except PruningError as error:
                failed.append(f"{error.reason}: {error}")
            seconds.append(time.perf_counter() - begin)
            time.sleep(max(0.0, EVERY_SECONDS - seconds[-1]))
    sys.stdout.write(json.dumps({"seconds": seconds, "failed": failed}) + "\n")


if __name__ == "__main__":
    main()
