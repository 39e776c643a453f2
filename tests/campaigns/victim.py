"""A client to be killed: `python -m tests.campaigns.victim ADDRESS SOURCE TARGET` prunes until it is."""

import sys

from pruning_client import Client, rules


def main() -> None:
    """Prune a file into another, over and over, by turns with a rule of global and of local scope."""
    address, source, target = sys.argv[1:]
    with Client(address) as client:
        print("begun", flush=True)  # noqa: T201 - its parent reads it
        while True:
            for scope in ("global", "local"):
                client.prune_file(source, target, rules.l1_unstructured(0.5, scope=scope))


if __name__ == "__main__":
    main()
